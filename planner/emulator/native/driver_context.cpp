// Driver API: initialisation, devices, contexts, pointers, and the lookup of driver functions.
#include <cstdio>

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "device.h"
#include "memory.h"
#include "properties.h"
#include "status.h"
#include "streams.h"

using namespace emulated;

namespace {

constexpr uintptr_t kContextBase = 0x5000;  // contexts are the device number plus this

CUcontext context_of(int device) {
  return reinterpret_cast<CUcontext>(kContextBase + static_cast<uintptr_t>(device));
}

CUresult not_emulated() { return CUDA_ERROR_NOT_SUPPORTED; }

// The newest variant of a driver function that is emulated; else one that answers "not
// supported", so that a caller sees an error from the call and not a null pointer.
void* driver_function(const char* symbol) {
  char name[256];
  for (const char* suffix : {"_v3", "_v2", ""}) {
    snprintf(name, sizeof name, "%s%s", symbol, suffix);
    if (void* found = dlsym(RTLD_DEFAULT, name)) return found;
  }
  return reinterpret_cast<void*>(not_emulated);
}

}  // namespace

EXPORT CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
EXPORT CUresult cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetCount(int* count) {
  *count = profile().device_count;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return valid_device(ordinal) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
EXPORT CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  snprintf(name, static_cast<size_t>(size), "%s", profile().name.c_str());
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  *uuid = device_uuid(device);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceTotalMem(size_t* bytes, CUdevice) {
  *bytes = profile().total_memory_bytes;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = device_attribute(static_cast<int>(attribute));
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceCanAccessPeer(int* can, CUdevice device, CUdevice peer) {
  *can = device != peer;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  *context = context_of(device);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
  *context = context_of(current_device());
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  if (context)
    current_device() = static_cast<int>(reinterpret_cast<uintptr_t>(context) - kContextBase);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxPushCurrent(CUcontext context) { return cuCtxSetCurrent(context); }
EXPORT CUresult cuCtxPopCurrent(CUcontext* context) { return cuCtxGetCurrent(context); }
EXPORT CUresult cuCtxGetDevice(CUdevice* device) {
  *device = current_device();
  return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSynchronize() {
  emulated::waited();
  return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = cudaGetErrorString(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorName(CUresult error, const char** name) {
  *name = cudaGetErrorName(static_cast<cudaError_t>(error));
  return CUDA_SUCCESS;
}

EXPORT CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute,
                                      CUdeviceptr pointer) {
  Range range;
  if (!find_range(reinterpret_cast<void*>(pointer), &range)) return CUDA_ERROR_INVALID_VALUE;
  const bool on_host = range.kind == RangeKind::kPinned || range.kind == RangeKind::kRegistered;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *static_cast<CUcontext*>(value) = context_of(range.device);
      break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *static_cast<unsigned*>(value) = on_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *static_cast<CUdeviceptr*>(value) = pointer;
      break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      *static_cast<void**>(value) = reinterpret_cast<void*>(pointer);
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *static_cast<int*>(value) = range.device;
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      *static_cast<CUdeviceptr*>(value) = range.begin;
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      *static_cast<size_t*>(value) = range.size;
      break;
    default:
      *static_cast<int*>(value) = 0;
  }
  return CUDA_SUCCESS;
}

#undef cudaGetDriverEntryPoint
EXPORT cudaError_t cudaGetDriverEntryPoint(const char* symbol, void** function, unsigned long long,
                                           enum cudaDriverEntryPointQueryResult* status) {
  *function = driver_function(symbol);
  if (status) *status = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
EXPORT cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                                    unsigned long long,
                                                    enum cudaDriverEntryPointQueryResult* status) {
  *function = driver_function(symbol);
  if (status) *status = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
EXPORT CUresult cuGetProcAddress(const char* symbol, void** function, int, cuuint64_t,
                                 CUdriverProcAddressQueryResult* status) {
  *function = driver_function(symbol);
  if (status) *status = CU_GET_PROC_ADDRESS_SUCCESS;
  return CUDA_SUCCESS;
}
