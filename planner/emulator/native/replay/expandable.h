// Expandable segments: addresses for more than the card, with memory mapped by pages.
#pragma once
#include <cstddef>
#include <cstdint>

#include "blocks.h"
#include "device_memory.h"
#include "settings.h"

namespace replayed {

class ExpandableSegments {
 public:
  ExpandableSegments(const Settings& settings, DeviceMemory& device, Numbering& numbering,
                     BlockStore& store)
      : settings_(settings), device_(device), numbering_(numbering), store_(store) {}

  int64_t mapped_bytes() const { return mapped_bytes_; }
  // Takes a free block of at least `size_bytes` out of `home`; null: the card is full.
  Block* grow(FreeBlocks* home, int64_t size_bytes);
  // Gives back the pages that are wholly inside the free blocks of `home`.
  void unmap(FreeBlocks* home);

 private:
  Block* room(FreeBlocks* home, int64_t size_bytes);
  bool map(Block* block, int64_t size_bytes);
  void unmap_pages(Block* block);
  int64_t page_bytes(const FreeBlocks* home) const {
    return home->is_small ? kSmallSegmentBytes : settings_.large_segment_bytes;
  }

  const Settings& settings_;
  DeviceMemory& device_;
  Numbering& numbering_;
  BlockStore& store_;
  int64_t mapped_bytes_ = 0;
};

// Moves on from index `at` while the next block has less room, its room to grow included.
size_t best_to_grow(const FreeBlocks* home, size_t at);

}  // namespace replayed
