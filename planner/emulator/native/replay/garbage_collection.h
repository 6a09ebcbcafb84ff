// Chooses cached segments to give back before the card is full (garbage_collection_threshold).
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "blocks.h"
#include "settings.h"

namespace replayed {

// The age of a free block is the number of searches in the large pool since it became free.
class GarbageCollector {
 public:
  explicit GarbageCollector(const Settings& settings)
      : is_on(settings.collect_above_bytes >= 0),
        above_bytes_(settings.collect_above_bytes),
        can_release_(!settings.has_expandable_segments) {}

  const bool is_on;

  void count_search(const FreeBlocks* home) { searches_ += !home->is_small; }
  void stamp(Block* block) const { block->freed_at = searches_; }
  // Whole free segments of the large pool, those of at least average age first.
  std::vector<Block*> collect(const std::deque<FreeBlocks>& homes, int64_t reserved_bytes) const;

 private:
  int64_t age(const Block* block) const { return searches_ - block->freed_at; }

  int64_t above_bytes_;
  bool can_release_;
  int64_t searches_ = 0;
};

}  // namespace replayed
