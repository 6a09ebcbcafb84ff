// Unified memory: the host reads and writes it, kernels too. On a card with room it lives there, so
// it is counted there; behind it is host memory that costs nothing until it is touched.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include "device.h"
#include "memory.h"
#include "status.h"

using namespace emulated;

namespace {

// The driver moves unified memory in pages of 64 KiB at the least when a kernel touches it
// (UVM_PAGE_SIZE_64K, github.com/NVIDIA/open-gpu-kernel-modules, kernel-open/nvidia-uvm).
constexpr size_t kManagedPageBytes = size_t{64} << 10;

using Lock = std::lock_guard<std::recursive_mutex>;

size_t rounded(size_t bytes) {
  return (bytes + kManagedPageBytes - 1) / kManagedPageBytes * kManagedPageBytes;
}

// A range on the host is not charged; its size is told apart by the owner.
constexpr Owner kOnTheHost = Owner::kPyTorch;

cudaError_t allocate_managed(void** pointer, size_t bytes) {
  if (!pointer || bytes == 0) return report(cudaErrorInvalidValue);
  const size_t size = rounded(bytes);
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return report(cudaErrorMemoryAllocation);
  Lock lock(memory_mutex());
  const int device = current_device();
  charge_managed(device, size);
  add_range({reinterpret_cast<uintptr_t>(at), size, RangeKind::kManaged, device, Owner::kManaged});
  note("managed-memory");
  *pointer = at;
  return cudaSuccess;
}

// Moves a whole allocation; a part of one stays counted where it is.
cudaError_t move(const void* pointer, size_t bytes, bool to_host) {
  Lock lock(memory_mutex());
  Range range;
  if (!find_range(pointer, &range) || range.kind != RangeKind::kManaged)
    return report(cudaErrorInvalidValue);
  if (reinterpret_cast<uintptr_t>(pointer) != range.begin || rounded(bytes) < range.size)
    return cudaSuccess;
  const bool on_host = range.owner == kOnTheHost;
  if (on_host == to_host) return cudaSuccess;
  if (to_host)
    discharge(range.device, range.size, Owner::kManaged);
  else
    charge_managed(range.device, range.size);
  range.owner = to_host ? kOnTheHost : Owner::kManaged;
  add_range(range);
  return cudaSuccess;
}

cudaError_t advise(const void* pointer, size_t bytes, int advice, bool to_host) {
  if (advice == cudaMemAdviseSetPreferredLocation) return move(pointer, bytes, to_host);
  if (advice == cudaMemAdviseUnsetPreferredLocation) return move(pointer, bytes, false);
  return cudaSuccess;  // what is read mostly or accessed by another is where it is
}

}  // namespace

namespace emulated {

cudaError_t release_managed(const Range& range) {
  if (range.owner != kOnTheHost) discharge(range.device, range.size, Owner::kManaged);
  munmap(reinterpret_cast<void*>(range.begin), range.size);
  return cudaSuccess;
}

}  // namespace emulated

EXPORT cudaError_t cudaMallocManaged(void** pointer, size_t bytes, unsigned) {
  return allocate_managed(pointer, bytes);
}
EXPORT CUresult cuMemAllocManaged(CUdeviceptr* pointer, size_t bytes, unsigned) {
  return static_cast<CUresult>(allocate_managed(reinterpret_cast<void**>(pointer), bytes));
}

#if CUDART_VERSION >= 13000
EXPORT cudaError_t cudaMemPrefetchAsync(const void* pointer, size_t bytes,
                                        struct cudaMemLocation location, unsigned, cudaStream_t) {
  return move(pointer, bytes, location.type != cudaMemLocationTypeDevice);
}
EXPORT cudaError_t cudaMemAdvise(const void* pointer, size_t bytes, enum cudaMemoryAdvise advice,
                                 struct cudaMemLocation location) {
  return advise(pointer, bytes, advice, location.type != cudaMemLocationTypeDevice);
}
EXPORT CUresult cuMemPrefetchAsync(CUdeviceptr pointer, size_t bytes, CUmemLocation location,
                                   unsigned, CUstream) {
  const bool to_host = location.type != CU_MEM_LOCATION_TYPE_DEVICE;
  return static_cast<CUresult>(move(reinterpret_cast<void*>(pointer), bytes, to_host));
}
EXPORT CUresult cuMemAdvise(CUdeviceptr pointer, size_t bytes, CUmem_advise advice,
                            CUmemLocation location) {
  const bool to_host = location.type != CU_MEM_LOCATION_TYPE_DEVICE;
  return static_cast<CUresult>(
      advise(reinterpret_cast<void*>(pointer), bytes, static_cast<int>(advice), to_host));
}
#else
EXPORT cudaError_t cudaMemPrefetchAsync(const void* pointer, size_t bytes, int device,
                                        cudaStream_t) {
  return move(pointer, bytes, device == cudaCpuDeviceId);
}
EXPORT cudaError_t cudaMemAdvise(const void* pointer, size_t bytes, enum cudaMemoryAdvise advice,
                                 int device) {
  return advise(pointer, bytes, advice, device == cudaCpuDeviceId);
}
EXPORT CUresult cuMemPrefetchAsync(CUdeviceptr pointer, size_t bytes, CUdevice device, CUstream) {
  return static_cast<CUresult>(
      move(reinterpret_cast<void*>(pointer), bytes, device == CU_DEVICE_CPU));
}
EXPORT CUresult cuMemAdvise(CUdeviceptr pointer, size_t bytes, CUmem_advise advice,
                            CUdevice device) {
  return static_cast<CUresult>(advise(reinterpret_cast<void*>(pointer), bytes,
                                      static_cast<int>(advice), device == CU_DEVICE_CPU));
}
#endif
