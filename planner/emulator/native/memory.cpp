// Accounting of device memory. An allocation reserves addresses that nothing may touch and is
// charged in whole 2 MiB pages against the card's capacity; a full card is the only failure.
#include "memory.h"

#include <algorithm>
#include <cstring>
#include <map>

#include <dlfcn.h>
#include <sys/mman.h>

#include "contents.h"
#include "device.h"
#include "status.h"
#include "streams.h"

namespace emulated {
namespace {

// One stretch of inaccessible addresses per device, handed out from the high end. PyTorch's
// allocator breaks ties between equal blocks by address (torch 2.6), so the direction shows: with
// this one 26 peaks published for a real H100 are met to the byte (benchmarks/accuracy).
class AddressSpace {
 public:
  uintptr_t take(size_t bytes) {
    if (!has_begun_) reserve();
    const uintptr_t begin = take_free(bytes);
    if (begin) return begin;
    extend(bytes);
    return take_free(bytes);
  }

  void give(uintptr_t begin, size_t bytes) {
    auto next = free_.lower_bound(begin);
    if (next != free_.begin()) {
      auto previous = std::prev(next);
      if (previous->first + previous->second == begin) {
        begin = previous->first;
        bytes += previous->second;
        free_.erase(previous);
      }
    }
    if (next != free_.end() && begin + bytes == next->first) {
      bytes += next->second;
      free_.erase(next);
    }
    free_[begin] = bytes;
  }

 private:
  uintptr_t take_free(size_t bytes) {
    for (auto it = free_.rbegin(); it != free_.rend(); ++it) {
      if (it->second < bytes) continue;
      const uintptr_t begin = it->first + it->second - bytes;
      it->second -= bytes;
      if (it->second == 0) free_.erase(it->first);
      return begin;
    }
    return 0;
  }

  // Far more than any card has: a run without a limit may ask for more than the card's memory, and
  // expandable segments reserve 9/8 of it per stream and pool. Halved where addresses are scarce.
  void reserve() {
    has_begun_ = true;
    for (size_t bytes = kAtFirst; bytes >= GiB; bytes /= 2) {
      if (map(bytes)) return;
      is_scarce_ = true;
    }
  }

  // As many more as are asked for. Where the process has none left for that, those from 2^47 on,
  // which no mapping gets: what reads there ends as it does on a page that nothing may touch.
  void extend(size_t bytes) {
    if (!is_scarce_ && bytes < kAtFirst && map(bytes + kPageBytes)) return;
    if (bytes > beyond_ - kBeyondBegin) return;
    beyond_ -= bytes;
    give(beyond_, bytes);
  }

  bool map(size_t bytes) {
    void* at = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return false;
    give(round_to_page(reinterpret_cast<uintptr_t>(at)),
         (bytes - kPageBytes) / kPageBytes * kPageBytes);
    return true;
  }

  static constexpr size_t kAtFirst = size_t{32} << 40;
  static constexpr uintptr_t kBeyondBegin = uintptr_t{1} << 47;

  std::map<uintptr_t, size_t> free_;
  bool has_begun_ = false;
  bool is_scarce_ = false;
  uintptr_t beyond_ = uintptr_t{1} << 56;  // those above it were handed out
};

struct DeviceMemory {
  AddressSpace addresses;
  size_t pytorch_bytes = 0;
  size_t peak_pytorch_bytes = 0;  // most charged since the last reset; what memory pools report
  size_t other_bytes = 0;
  size_t managed_bytes = 0;
  size_t peak_outside_bytes = 0;  // of other and managed together
  size_t peak_managed_bytes = 0;
  size_t peak_beyond_bytes = 0;  // by how much unified memory exceeded the card at the most

  size_t charged_bytes() const { return pytorch_bytes + other_bytes + managed_bytes; }

  size_t& bytes_of(Owner owner) {
    if (owner == Owner::kPyTorch) return pytorch_bytes;
    return owner == Owner::kOther ? other_bytes : managed_bytes;
  }

  void add(size_t bytes, Owner owner) {
    bytes_of(owner) += bytes;
    peak_pytorch_bytes = std::max(peak_pytorch_bytes, pytorch_bytes);
    peak_outside_bytes = std::max(peak_outside_bytes, other_bytes + managed_bytes);
    peak_managed_bytes = std::max(peak_managed_bytes, managed_bytes);
    const size_t capacity = profile().capacity_bytes;
    if (charged_bytes() > capacity)
      peak_beyond_bytes = std::max(peak_beyond_bytes, charged_bytes() - capacity);
  }
};

DeviceMemory& device_memory(int device) {
  static auto* all = new DeviceMemory[kMaxDevices];
  return all[device];
}

std::map<uintptr_t, Range>& ranges() {
  static auto* map = new std::map<uintptr_t, Range>();
  return *map;
}

}  // namespace

std::recursive_mutex& memory_mutex() {
  static auto* mutex = new std::recursive_mutex();
  return *mutex;
}

using Lock = std::lock_guard<std::recursive_mutex>;

bool charge(int device, size_t bytes, Owner owner) {
  Lock lock(memory_mutex());
  DeviceMemory& memory = device_memory(device);
  if (memory.charged_bytes() + bytes > profile().capacity_bytes) return false;
  memory.add(bytes, owner);
  return true;
}

void charge_managed(int device, size_t bytes) {
  Lock lock(memory_mutex());
  device_memory(device).add(bytes, Owner::kManaged);
}

void discharge(int device, size_t bytes, Owner owner) {
  Lock lock(memory_mutex());
  device_memory(device).bytes_of(owner) -= bytes;
}

Owner owner_of(const void* caller) {
  Dl_info library;
  if (!dladdr(caller, &library) || !library.dli_fname) return Owner::kOther;
  return strstr(library.dli_fname, "libc10_cuda") ? Owner::kPyTorch : Owner::kOther;
}

size_t free_bytes(int device) {
  Lock lock(memory_mutex());
  const size_t used = device_memory(device).charged_bytes();
  const size_t limit = profile().capacity_bytes < profile().total_memory_bytes
                           ? profile().capacity_bytes
                           : profile().total_memory_bytes;
  return used < limit ? limit - used : 0;
}

uintptr_t take_addresses(int device, size_t bytes) {
  Lock lock(memory_mutex());
  return device_memory(device).addresses.take(bytes);
}

void give_addresses(int device, uintptr_t begin, size_t bytes) {
  Lock lock(memory_mutex());
  device_memory(device).addresses.give(begin, bytes);
}

void add_range(const Range& range) {
  Lock lock(memory_mutex());
  ranges()[range.begin] = range;
}

bool remove_range(uintptr_t begin, Range* removed) {
  Lock lock(memory_mutex());
  auto it = ranges().find(begin);
  if (it == ranges().end()) return false;
  if (removed) *removed = it->second;
  ranges().erase(it);
  return true;
}

bool find_range(const void* address, Range* found) {
  Lock lock(memory_mutex());
  const auto at = reinterpret_cast<uintptr_t>(address);
  auto it = ranges().upper_bound(at);
  if (it == ranges().begin()) return false;
  --it;
  if (at >= it->second.begin + it->second.size) return false;
  if (found) *found = it->second;
  return true;
}

bool on_device(const void* address) {
  Range range;
  if (!find_range(address, &range)) return false;
  return range.kind == RangeKind::kDevice || range.kind == RangeKind::kReserved;
}

cudaError_t allocate(void** pointer, size_t bytes, Owner owner) {
  if (!pointer) return report(cudaErrorInvalidValue);
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  Lock lock(memory_mutex());
  const int device = current_device();
  const size_t pages = round_to_page(bytes);
  if (!charge(device, pages, owner)) return report(cudaErrorMemoryAllocation);
  const uintptr_t begin = take_addresses(device, pages);
  if (!begin) {
    discharge(device, pages, owner);
    return report(cudaErrorMemoryAllocation);
  }
  add_range({begin, pages, RangeKind::kDevice, device, owner});
  *pointer = reinterpret_cast<void*>(begin);
  return cudaSuccess;
}

cudaError_t release(void* pointer) {
  if (!pointer) return cudaSuccess;
  Lock lock(memory_mutex());
  Range range;
  if (!remove_range(reinterpret_cast<uintptr_t>(pointer), &range))
    return report(cudaErrorInvalidValue);
  if (range.kind == RangeKind::kManaged) return release_managed(range);
  contents::put(pointer, range.size, nullptr);
  give_addresses(range.device, range.begin, range.size);
  discharge(range.device, range.size, range.owner);
  return cudaSuccess;
}

}  // namespace emulated

using namespace emulated;

EXPORT cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return allocate(pointer, bytes, owner_of(__builtin_return_address(0)));
}
EXPORT cudaError_t cudaFree(void* pointer) {
  if (pointer) waited();  // for all streams, as on a card
  return release(pointer);
}
EXPORT cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  return allocate(pointer, bytes, owner_of(__builtin_return_address(0)));
}
EXPORT cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t,
                                           cudaStream_t) {
  return allocate(pointer, bytes, owner_of(__builtin_return_address(0)));
}
// Rows begin at multiples of 512 bytes, as on NVIDIA's cards (textureAlignment).
EXPORT cudaError_t cudaMallocPitch(void** pointer, size_t* pitch, size_t width, size_t height) {
  if (!pitch) return report(cudaErrorInvalidValue);
  *pitch = (width + 511) / 512 * 512;
  return allocate(pointer, *pitch * height, owner_of(__builtin_return_address(0)));
}
EXPORT cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return release(pointer); }

EXPORT cudaError_t cudaMemGetInfo(size_t* free_out, size_t* total_out) {
  if (free_out) *free_out = free_bytes(current_device());
  if (total_out) *total_out = profile().total_memory_bytes;
  return cudaSuccess;
}

EXPORT cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes,
                                            const void* pointer) {
  *attributes = {};
  attributes->device = cudaInvalidDeviceId;
  Range range;
  void* address = const_cast<void*>(pointer);
  if (!find_range(pointer, &range)) {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->hostPointer = address;
    return cudaSuccess;
  }
  attributes->device = range.device;
  attributes->devicePointer = address;
  switch (range.kind) {
    case RangeKind::kDevice:
    case RangeKind::kReserved:
      attributes->type = cudaMemoryTypeDevice;
      break;
    case RangeKind::kPinned:
    case RangeKind::kRegistered:
      attributes->type = cudaMemoryTypeHost;
      attributes->hostPointer = address;
      break;
    case RangeKind::kManaged:
      attributes->type = cudaMemoryTypeManaged;
      attributes->hostPointer = address;
      break;
  }
  return cudaSuccess;
}

// Memory pools, for PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync. The pool keeps nothing back.
namespace {
int pool_device(cudaMemPool_t pool) {
  const auto device = static_cast<int>(reinterpret_cast<uintptr_t>(pool)) - 0x1000;
  return device >= 0 && device < kMaxDevices ? device : 0;
}
}  // namespace

EXPORT cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  *pool = reinterpret_cast<cudaMemPool_t>(static_cast<uintptr_t>(0x1000 + device));
  return cudaSuccess;
}

EXPORT cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute,
                                           void* value) {
  note("memory-pool");
  switch (attribute) {
    case cudaMemPoolAttrReservedMemCurrent:
    case cudaMemPoolAttrUsedMemCurrent:
      *static_cast<uint64_t*>(value) = device_memory(pool_device(pool)).pytorch_bytes;
      break;
    case cudaMemPoolAttrReservedMemHigh:
    case cudaMemPoolAttrUsedMemHigh:
      *static_cast<uint64_t*>(value) = device_memory(pool_device(pool)).peak_pytorch_bytes;
      break;
    case cudaMemPoolAttrReleaseThreshold:
      *static_cast<uint64_t*>(value) = 0;
      break;
    default:
      *static_cast<int*>(value) = 1;
  }
  return cudaSuccess;
}

EXPORT cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute,
                                           void*) {
  if (attribute == cudaMemPoolAttrReservedMemHigh || attribute == cudaMemPoolAttrUsedMemHigh) {
    DeviceMemory& memory = device_memory(pool_device(pool));
    memory.peak_pytorch_bytes = memory.pytorch_bytes;  // the only value that may be set is a reset
  }
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
EXPORT cudaError_t cudaMemPoolSetAccess(cudaMemPool_t, const cudaMemAccessDesc*, size_t) {
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetGraphMemAttribute(int, enum cudaGraphMemAttributeType,
                                                  void* value) {
  *static_cast<uint64_t*>(value) = 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceSetGraphMemAttribute(int, enum cudaGraphMemAttributeType, void*) {
  return cudaSuccess;
}

// What the emulated card holds now: for tests that compare it with PyTorch's own figures.
EXPORT size_t planner_device_charged_bytes(int device) {
  return device_memory(device).charged_bytes();
}
// The most that was taken beside PyTorch's allocator, how much of it unified memory was, and by how
// much that exceeded the card.
EXPORT size_t planner_device_peak_outside_bytes(int device) {
  return device_memory(device).peak_outside_bytes;
}
EXPORT size_t planner_device_peak_managed_bytes(int device) {
  return device_memory(device).peak_managed_bytes;
}
EXPORT size_t planner_device_peak_beyond_bytes(int device) {
  return device_memory(device).peak_beyond_bytes;
}
