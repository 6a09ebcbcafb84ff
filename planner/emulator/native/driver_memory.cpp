// Driver API: plain allocations and the virtual memory functions behind expandable segments.
#include <algorithm>
#include <map>

#include <cuda.h>

#include "contents.h"
#include "device.h"
#include "memory.h"
#include "status.h"

using namespace emulated;

namespace {

// Physical memory that addresses may be mapped to; charged while it exists.
struct PhysicalMemory {
  size_t size = 0;
  int device = 0;
  int mappings = 0;
  bool released = false;
  Owner owner = Owner::kPyTorch;
};

std::map<uintptr_t, PhysicalMemory*>& mappings() {
  static auto* map = new std::map<uintptr_t, PhysicalMemory*>();
  return *map;
}

// A stretch of addresses that nothing has been mapped to yet, and the memory made since.
// PyTorch reserves 9/8 of the card's memory for the segments of a stream, makes the memory of a
// request piece by piece, maps it, and where the request is larger than the stretch reads a block
// behind its end that is not there (try_allocate_expandable_block in CUDACachingAllocator.cpp). A
// card is full before that; here a run without a limit is told so with the last piece.
struct FreshAddresses {
  size_t size = 0;
  size_t made = 0;
};
FreshAddresses fresh;

void drop_if_unused(PhysicalMemory* memory) {
  if (!memory->released || memory->mappings > 0) return;
  discharge(memory->device, memory->size, memory->owner);
  delete memory;
}

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace

EXPORT CUresult cuMemGetInfo(size_t* free_out, size_t* total_out) {
  return static_cast<CUresult>(cudaMemGetInfo(free_out, total_out));
}
EXPORT CUresult cuMemAlloc(CUdeviceptr* pointer, size_t bytes) {
  const Owner owner = owner_of(__builtin_return_address(0));
  return static_cast<CUresult>(allocate(reinterpret_cast<void**>(pointer), bytes, owner));
}
EXPORT CUresult cuMemFree(CUdeviceptr pointer) {
  return static_cast<CUresult>(release(reinterpret_cast<void*>(pointer)));
}
EXPORT CUresult cuMemGetAddressRange(CUdeviceptr* begin, size_t* size, CUdeviceptr pointer) {
  Range range;
  if (!find_range(reinterpret_cast<void*>(pointer), &range)) return CUDA_ERROR_NOT_FOUND;
  if (begin) *begin = range.begin;
  if (size) *size = range.size;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemsetD32Async(CUdeviceptr pointer, unsigned, size_t count, CUstream) {
  contents::put(reinterpret_cast<void*>(pointer), 4 * count, nullptr);
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemAddressReserve(CUdeviceptr* pointer, size_t bytes, size_t, CUdeviceptr,
                                    unsigned long long) {
  Lock lock(memory_mutex());
  const int device = current_device();
  const size_t size = round_to_page(bytes);
  const uintptr_t begin = take_addresses(device, size);
  if (!begin) return CUDA_ERROR_OUT_OF_MEMORY;
  add_range({begin, size, RangeKind::kReserved, device});
  fresh = {size, 0};
  *pointer = begin;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemAddressFree(CUdeviceptr pointer, size_t) {
  Lock lock(memory_mutex());
  Range range;
  if (!remove_range(pointer, &range)) return CUDA_ERROR_INVALID_VALUE;
  give_addresses(range.device, range.begin, range.size);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemGetAllocationGranularity(size_t* bytes, const CUmemAllocationProp*,
                                              CUmemAllocationGranularity_flags) {
  *bytes = kPageBytes;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t bytes,
                            const CUmemAllocationProp* properties, unsigned long long) {
  int device = current_device();
  if (properties && valid_device(properties->location.id)) device = properties->location.id;
  const size_t size = round_to_page(bytes);
  const Owner owner = owner_of(__builtin_return_address(0));
  Lock lock(memory_mutex());
  if (fresh.size > 0 && fresh.made + size >= fresh.size) return CUDA_ERROR_OUT_OF_MEMORY;
  if (!charge(device, size, owner)) return CUDA_ERROR_OUT_OF_MEMORY;
  fresh.made += size;
  auto* memory = new PhysicalMemory();
  memory->size = size;
  memory->device = device;
  memory->owner = owner;
  *handle = reinterpret_cast<CUmemGenericAllocationHandle>(memory);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  Lock lock(memory_mutex());
  auto* memory = reinterpret_cast<PhysicalMemory*>(handle);
  memory->released = true;
  if (memory->mappings == 0) fresh.made -= std::min(fresh.made, memory->size);
  drop_if_unused(memory);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemMap(CUdeviceptr pointer, size_t, size_t, CUmemGenericAllocationHandle handle,
                         unsigned long long) {
  Lock lock(memory_mutex());
  auto* memory = reinterpret_cast<PhysicalMemory*>(handle);
  fresh = {};
  memory->mappings++;
  mappings()[pointer] = memory;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemUnmap(CUdeviceptr pointer, size_t bytes) {
  contents::put(reinterpret_cast<void*>(pointer), bytes, nullptr);
  Lock lock(memory_mutex());
  auto it = mappings().lower_bound(pointer);
  while (it != mappings().end() && it->first < pointer + bytes) {
    PhysicalMemory* memory = it->second;
    it = mappings().erase(it);
    memory->mappings--;
    drop_if_unused(memory);
  }
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemSetAccess(CUdeviceptr, size_t, const CUmemAccessDesc*, size_t) {
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* pointer) {
  Lock lock(memory_mutex());
  auto it = mappings().find(reinterpret_cast<uintptr_t>(pointer));
  if (it == mappings().end()) return CUDA_ERROR_INVALID_VALUE;
  *handle = reinterpret_cast<CUmemGenericAllocationHandle>(it->second);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuMemExportToShareableHandle(void*, CUmemGenericAllocationHandle,
                                             CUmemAllocationHandleType, unsigned long long) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
EXPORT CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle*, void*,
                                               CUmemAllocationHandleType) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
