// Device memory without memory: address ranges and the bytes that they are charged for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include <cuda_runtime_api.h>

namespace emulated {

enum class RangeKind {
  kDevice,      // cudaMalloc
  kReserved,    // address space of the virtual memory API, charged when memory is mapped
  kPinned,      // page-locked host memory of ours
  kRegistered,  // the caller's host memory, page-locked
  kManaged,     // unified memory: host memory here, counted on the card
};

// Whose the memory is. PyTorch reports the first; the planner adds the others to it.
enum class Owner {
  kPyTorch,  // its caching allocator
  kOther,    // a library beside it, with cudaMalloc
  kManaged,  // unified memory, whoever asked for it
};

struct Range {
  uintptr_t begin = 0;
  size_t size = 0;
  RangeKind kind = RangeKind::kDevice;
  int device = 0;
  Owner owner = Owner::kPyTorch;
};

// Guards ranges and charges; recursive because the driver API calls the runtime's functions.
std::recursive_mutex& memory_mutex();

// Takes `bytes` (a multiple of the 2 MiB page) of the card's capacity, or says that it is full.
bool charge(int device, size_t bytes, Owner owner);
void discharge(int device, size_t bytes, Owner owner);
// Unified memory is never refused: what finds no room on the card stays on the host.
void charge_managed(int device, size_t bytes);
size_t free_bytes(int device);
// Whose memory a function takes that returns to `caller`.
Owner owner_of(const void* caller);

// Address space on the device: highest free address first, so that runs repeat byte for byte.
uintptr_t take_addresses(int device, size_t bytes);
void give_addresses(int device, uintptr_t begin, size_t bytes);

void add_range(const Range& range);
bool remove_range(uintptr_t begin, Range* removed);
// The range that holds `address`; false when none does.
bool find_range(const void* address, Range* found);
bool on_device(const void* address);

cudaError_t allocate(void** pointer, size_t bytes, Owner owner);
cudaError_t release(void* pointer);
cudaError_t release_managed(const Range& range);

constexpr size_t kPageBytes = size_t{2} << 20;  // granularity of physical memory on NVIDIA cards
inline size_t round_to_page(size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace emulated
