// What the card says of itself: device properties and attributes, from the profile.
#include "properties.h"

#include <cstdio>
#include <cstring>

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "device.h"
#include "status.h"

using namespace emulated;

namespace {

// Limits that are the same on every card from compute capability 5.0 on (CUDA C++ Programming
// Guide, "Technical Specifications per Compute Capability").
constexpr int kThreadsPerBlock = 1024;
constexpr int kBlockDepth = 64;
constexpr int kGridX = 2147483647;
constexpr int kGridYZ = 65535;
constexpr int kSharedPerBlockBytes = 48 << 10;
constexpr int kRegisters = 65536;
constexpr int kConstantBytes = 65536;
constexpr int kWarp = 32;
constexpr int kAccessPolicyWindowBytes = 134213632;

int reserved_shared_bytes() { return profile().major >= 8 ? 1024 : 0; }
int persisting_l2_bytes() {
  return profile().major >= 8 ? static_cast<int>(profile().l2_bytes * 3 / 4) : 0;
}

}  // namespace

namespace emulated {

int device_attribute(int attribute) {
  const Profile& p = profile();
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return kThreadsPerBlock;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return kBlockDepth;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return kGridX;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return kGridYZ;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return kSharedPerBlockBytes;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return kConstantBytes;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return kWarp;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return kRegisters;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
      return p.clock_khz;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
      return 512;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return p.multiprocessors;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return p.memory_clock_khz;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return p.bus_bits;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return static_cast<int>(p.l2_bytes);
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return p.threads_per_sm;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
      return 2;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return p.major;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return p.minor;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return static_cast<int>(p.shared_per_sm_bytes);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return static_cast<int>(p.shared_per_block_optin_bytes);
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return p.blocks_per_sm;
    case CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE:
      return persisting_l2_bytes();
    case CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE:
      return kAccessPolicyWindowBytes;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return reserved_shared_bytes();
    case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH:
      return p.major >= 9;
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
      return 1;
    default:
      return 0;
  }
}

CUuuid device_uuid(int device) {
  CUuuid uuid;
  for (int i = 0; i < 16; i++) uuid.bytes[i] = static_cast<char>(i + 16 * device + 1);
  return uuid;
}

int pci_bus(int device) { return 1 + device; }

int device_at_pci_bus(const char* text) {
  unsigned domain = 0, bus = 0;
  if (sscanf(text, "%x:%x:", &domain, &bus) != 2 || domain != 0) return -1;
  const int device = static_cast<int>(bus) - 1;
  return valid_device(device) ? device : -1;
}

}  // namespace emulated

EXPORT cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int device) {
  if (!valid_device(device)) return report(cudaErrorInvalidDevice);
  const Profile& p = profile();
  memset(out, 0, sizeof *out);
  snprintf(out->name, sizeof out->name, "%s", p.name.c_str());
  out->uuid = device_uuid(device);
  out->totalGlobalMem = p.total_memory_bytes;
  out->sharedMemPerBlock = kSharedPerBlockBytes;
  out->regsPerBlock = kRegisters;
  out->warpSize = kWarp;
  out->memPitch = 2147483647;
  out->maxThreadsPerBlock = kThreadsPerBlock;
  out->maxThreadsDim[0] = out->maxThreadsDim[1] = kThreadsPerBlock;
  out->maxThreadsDim[2] = kBlockDepth;
  out->maxGridSize[0] = kGridX;
  out->maxGridSize[1] = out->maxGridSize[2] = kGridYZ;
  out->totalConstMem = kConstantBytes;
  out->major = p.major;
  out->minor = p.minor;
  out->textureAlignment = 512;
  out->texturePitchAlignment = 32;
  out->multiProcessorCount = p.multiprocessors;
  out->canMapHostMemory = out->concurrentKernels = out->unifiedAddressing = 1;
  out->asyncEngineCount = 2;
  out->pciBusID = pci_bus(device);
  out->memoryBusWidth = p.bus_bits;
  out->l2CacheSize = static_cast<int>(p.l2_bytes);
  out->persistingL2CacheMaxSize = persisting_l2_bytes();
  out->maxThreadsPerMultiProcessor = p.threads_per_sm;
  out->streamPrioritiesSupported = out->globalL1CacheSupported = out->localL1CacheSupported = 1;
  out->sharedMemPerMultiprocessor = p.shared_per_sm_bytes;
  out->regsPerMultiprocessor = kRegisters;
  out->managedMemory = out->concurrentManagedAccess = out->computePreemptionSupported = 1;
  out->canUseHostPointerForRegisteredMem = out->cooperativeLaunch = 1;
  out->sharedMemPerBlockOptin = p.shared_per_block_optin_bytes;
  out->maxBlocksPerMultiProcessor = p.blocks_per_sm;
  out->accessPolicyMaxWindowSize = kAccessPolicyWindowBytes;
  out->reservedSharedMemPerBlock = reserved_shared_bytes();
  out->hostRegisterSupported = out->memoryPoolsSupported = 1;
  out->clusterLaunch = p.major >= 9;
#if CUDART_VERSION < 13000
  out->clockRate = p.clock_khz;
  out->memoryClockRate = p.memory_clock_khz;
#endif
  return cudaSuccess;
}

EXPORT cudaError_t cudaDeviceGetAttribute(int* value, enum cudaDeviceAttr attribute, int device) {
  if (!valid_device(device)) return report(cudaErrorInvalidDevice);
  *value = device_attribute(static_cast<int>(attribute));
  return cudaSuccess;
}

EXPORT cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return cudaSuccess;
}
EXPORT cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  snprintf(text, static_cast<size_t>(size), "0000:%02X:00.0", pci_bus(device));
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetByPCIBusId(int* device, const char* text) {
  const int found = device_at_pci_bus(text);
  if (found < 0) return report(cudaErrorInvalidDevice);
  *device = found;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  *can = device != peer;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return cudaSuccess; }
EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}
