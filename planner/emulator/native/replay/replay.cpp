// The functions that native.py calls: requests scaled to another batch, and a whole replay.
#include <cstdint>
#include <exception>
#include <vector>

#include "allocator.h"
#include "settings.h"

using namespace replayed;

namespace {

enum Kind : uint8_t { kAlloc, kFree, kFreeRequested, kFreeCompleted, kEmptyCache };

// How a call ended. kNotComputed: a figure may not fit into 63 bits, or this machine's memory is full.
enum Ending : int32_t { kServed, kOutOfMemory, kLiveAllocated, kNotLiveFreed, kNotComputed };

constexpr int64_t kLargestRequestBytes = int64_t{1} << 50;

// What a block of the program is at the moment; `pending` 0: no free of it waits.
struct Named {
  Block* live = nullptr;
  int64_t pending = 0;
  bool is_done_without = false;
};

struct Requests {
  int64_t count;
  int64_t names;  // a name is a number below this
  const uint8_t* kinds;
  const int32_t* blocks;
  const int64_t* sizes_bytes;
  const int64_t* streams;
  const uint8_t* optional;  // by name; null: the program can do without none
};

struct Figures {
  int64_t peak_allocated_bytes, peak_active_bytes, peak_reserved_bytes;
  int64_t allocated_bytes, reserved_bytes, alloc_retries;
  int64_t index;  // of the request that could not be served, or cannot be
};

// Returns whether every sum of a replay stays below kWithoutLimitBytes.
bool is_in_range(const Requests& requests, const Settings& settings) {
  __int128 sum = 0;
  const __int128 each = settings.has_expandable_segments
                            ? settings.segment_addresses_bytes + 4 * settings.large_segment_bytes
                            : 4 * settings.large_segment_bytes;
  for (int64_t at = 0; at < requests.count; ++at) {
    if (requests.kinds[at] != kAlloc) continue;
    const int64_t size = requests.sizes_bytes[at];
    if (size < 0 || size > kLargestRequestBytes) return false;
    sum += each + 2 * static_cast<__int128>(size) + 4 * kPageBytes;
  }
  return 2 * sum < kWithoutLimitBytes;
}

Ending served(const Requests& requests, CachingAllocator& allocator, int64_t& at) {
  std::vector<Named> named(requests.names);
  for (at = 0; at < requests.count; ++at) {
    const uint8_t kind = requests.kinds[at];
    if (kind == kEmptyCache) {
      allocator.empty_cache();
      continue;
    }
    const int32_t name = requests.blocks[at];
    Named& block = named[name];
    if (kind == kAlloc) {
      Block* made = allocator.allocate(requests.sizes_bytes[at], requests.streams[at]);
      if (!made) {
        if (!requests.optional || !requests.optional[name]) return kOutOfMemory;
        block.is_done_without = true;
        continue;
      }
      if (block.live) return kLiveAllocated;
      block.live = made;
    } else if (kind == kFree && block.live) {
      allocator.free(block.live);
      block.live = nullptr;
    } else if (block.is_done_without) {
      block.is_done_without = false;
    } else if (kind == kFreeCompleted ? !block.pending : !block.live) {
      return kNotLiveFreed;
    } else if (kind == kFreeRequested) {
      block.pending = allocator.request_free(block.live);
      block.live = nullptr;
    } else {
      allocator.complete_free(block.pending);
      block.pending = 0;
    }
  }
  return kServed;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int32_t planner_replay(const Requests* requests, const Settings* settings,
                              Figures* figures) {
  if (!is_in_range(*requests, *settings)) return kNotComputed;
  try {
    CachingAllocator allocator(*settings);
    const Ending ending = served(*requests, allocator, figures->index);
    figures->peak_allocated_bytes = allocator.peak_allocated_bytes;
    figures->peak_active_bytes = allocator.peak_active_bytes;
    figures->peak_reserved_bytes = allocator.peak_reserved_bytes;
    figures->allocated_bytes = allocator.allocated_bytes;
    figures->reserved_bytes = allocator.reserved_bytes;
    figures->alloc_retries = allocator.alloc_retries;
    return ending;
  } catch (const std::exception&) {  // none may reach Python's C code
    return kNotComputed;
  }
}

// Writes to `sizes_bytes`, at each of `places`, the weighted sum of the columns' entries divided by
// `whole` and rounded up, and 0 where that is below 0. Weights have at most 60 bits.
EXPORT int32_t planner_scale(int64_t count, const int64_t* places, int32_t columns,
                             const int64_t* const* column, const int64_t* weights, int64_t whole,
                             int64_t* sizes_bytes) {
  for (int64_t row = 0; row < count; ++row) {
    __int128 sum = 0;
    for (int32_t at = 0; at < columns; ++at) {
      sum += static_cast<__int128>(weights[at]) * column[at][row];
    }
    __int128 size = sum / whole;
    if (sum % whole > 0) ++size;
    if (size > kLargestRequestBytes) return kNotComputed;
    sizes_bytes[places[row]] = size > 0 ? static_cast<int64_t>(size) : 0;
  }
  return kServed;
}
