// The allocator of one card, by the rules of torch's c10/cuda/CUDACachingAllocator.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "blocks.h"
#include "device_memory.h"
#include "expandable.h"
#include "garbage_collection.h"
#include "settings.h"

namespace replayed {

class CachingAllocator {
 public:
  explicit CachingAllocator(const Settings& settings);
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  // Null where torch would raise OutOfMemoryError.
  Block* allocate(int64_t size_bytes, int64_t stream);
  void free(Block* block);
  // A block that another stream still uses; the number is that of the pending free.
  int64_t request_free(Block* block);
  // Does nothing if empty_cache() has freed the block.
  void complete_free(int64_t pending);
  void empty_cache();

  int64_t allocated_bytes = 0, active_bytes = 0, reserved_bytes = 0;
  int64_t peak_allocated_bytes = 0, peak_active_bytes = 0, peak_reserved_bytes = 0;
  int64_t alloc_retries = 0;

 private:
  struct Pending {
    int64_t number;
    Block* block;
  };

  int64_t rounded(int64_t size_bytes) const;
  int64_t segment_bytes(int64_t block_bytes) const;
  FreeBlocks* home_of(bool is_small, int64_t stream);
  size_t best_fit(FreeBlocks* home, int64_t size, size_t at);
  Block* new_memory(FreeBlocks* home, int64_t size);
  Block* grow(FreeBlocks* home, int64_t size, int64_t segment);
  void make_free(Block* block);
  void release(Block* block);
  bool release_oversize(FreeBlocks* home, int64_t size);

  const Settings& settings_;
  const bool has_split_limit_;
  const bool has_search_rules_;
  const int64_t whole_from_bytes_;  // requests from here on take a block as it is
  DeviceMemory device_;
  Numbering numbering_;
  BlockStore store_;
  ExpandableSegments expandable_;
  GarbageCollector collector_;
  std::deque<FreeBlocks> homes_;  // in the order of their first requests
  std::vector<Pending> pending_;
  int64_t last_pending_ = 0;
};

}  // namespace replayed
