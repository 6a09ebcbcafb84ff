// Host memory that CUDA knows: page-locked and registered. This memory is real.
#include <cstdlib>

#include "device.h"
#include "memory.h"
#include "status.h"

using namespace emulated;

namespace {

constexpr size_t kHostPageBytes = 4096;

cudaError_t host_allocate(void** pointer, size_t bytes) {
  if (posix_memalign(pointer, kHostPageBytes, bytes ? bytes : 1) != 0) {
    return report(cudaErrorMemoryAllocation);
  }
  add_range({reinterpret_cast<uintptr_t>(*pointer), bytes ? bytes : 1, RangeKind::kPinned,
             current_device()});
  return cudaSuccess;
}

}  // namespace

EXPORT cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return host_allocate(pointer, bytes);
}
EXPORT cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return host_allocate(pointer, bytes);
}

EXPORT cudaError_t cudaFreeHost(void* pointer) {
  if (pointer && remove_range(reinterpret_cast<uintptr_t>(pointer), nullptr)) free(pointer);
  return cudaSuccess;
}

EXPORT cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  add_range(
      {reinterpret_cast<uintptr_t>(pointer), bytes, RangeKind::kRegistered, current_device()});
  return cudaSuccess;
}

EXPORT cudaError_t cudaHostUnregister(void* pointer) {
  remove_range(reinterpret_cast<uintptr_t>(pointer), nullptr);
  return cudaSuccess;
}

EXPORT cudaError_t cudaHostGetDevicePointer(void** device_pointer, void* host_pointer, unsigned) {
  *device_pointer = host_pointer;
  return cudaSuccess;
}
