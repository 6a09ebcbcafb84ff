// The allocator of one card, by the rules of torch's c10/cuda/CUDACachingAllocator.cpp.
#include "allocator.h"

#include <algorithm>

namespace replayed {

namespace {

int bit_length(int64_t value) {
  return 64 - __builtin_clzll(static_cast<unsigned long long>(value));
}

}  // namespace

CachingAllocator::CachingAllocator(const Settings& settings)
    : settings_(settings),
      has_split_limit_(settings.max_split_bytes != kWithoutLimitBytes),
      has_search_rules_(settings.collect_above_bytes >= 0 || settings.has_expandable_segments ||
                        has_split_limit_),
      whole_from_bytes_(settings.has_expandable_segments ? kWithoutLimitBytes
                                                         : settings.max_split_bytes),
      device_(settings.capacity_bytes),
      numbering_(settings.tie_break),
      expandable_(settings, device_, numbering_, store_),
      collector_(settings) {}

Block* CachingAllocator::allocate(int64_t size_bytes, int64_t stream) {
  int64_t size = rounded(size_bytes);
  FreeBlocks* home = home_of(size <= kSmallRequestBytes, stream);
  auto& entries = home->entries;
  size_t at = home->first_of(size);
  if (has_search_rules_) at = best_fit(home, size, at);
  Block* block;
  if (at < entries.size()) {
    block = entries[at].block;
    entries.erase(entries.begin() + at);
  } else {
    block = new_memory(home, size);
  }
  if (!block) return nullptr;
  if (block->size_bytes - size >= home->smallest_rest_bytes && size < whole_from_bytes_) {
    Block* rest = block;
    block = cut(store_, rest, size, numbering_.of_part(rest));
    if (collector_.is_on) collector_.stamp(rest);
    home->insert(rest);
  }
  size = block->size_bytes;
  block->in_use = true;
  allocated_bytes += size;
  peak_allocated_bytes = std::max(peak_allocated_bytes, allocated_bytes);
  active_bytes += size;
  peak_active_bytes = std::max(peak_active_bytes, active_bytes);
  return block;
}

void CachingAllocator::free(Block* block) {
  allocated_bytes -= block->size_bytes;
  make_free(block);
}

int64_t CachingAllocator::request_free(Block* block) {
  allocated_bytes -= block->size_bytes;
  pending_.push_back({++last_pending_, block});
  return last_pending_;
}

void CachingAllocator::complete_free(int64_t pending) {
  const auto at = std::find_if(pending_.begin(), pending_.end(),
                               [&](const Pending& one) { return one.number == pending; });
  if (at == pending_.end()) return;
  Block* block = at->block;
  pending_.erase(at);
  make_free(block);
}

void CachingAllocator::empty_cache() {
  while (!pending_.empty()) {  // the allocator waits until no other stream uses them
    Block* block = pending_.back().block;
    pending_.pop_back();
    make_free(block);
  }
  for (FreeBlocks& home : homes_) {
    if (settings_.has_expandable_segments) {
      expandable_.unmap(&home);
      reserved_bytes = expandable_.mapped_bytes();
      continue;
    }
    for (Block* block : home.blocks()) {
      if (!block->is_split()) release(block);
    }
  }
}

int64_t CachingAllocator::rounded(int64_t size_bytes) const {
  if (size_bytes < kMinBlockBytes) return kMinBlockBytes;
  if (settings_.rounds_up) {
    const int bits = bit_length(size_bytes);
    const int interval = std::min(std::max(bits - bit_length(kMiB), 0), kIntervals - 1);
    const int64_t divisions = settings_.roundup_divisions[interval];
    if (divisions > 1 && size_bytes > kMinBlockBytes * divisions) {
      return whole(size_bytes, (int64_t{1} << (bits - 1)) / divisions);
    }
  }
  return whole(size_bytes, kMinBlockBytes);
}

int64_t CachingAllocator::segment_bytes(int64_t block_bytes) const {
  if (block_bytes <= kSmallRequestBytes) return kSmallSegmentBytes;
  if (block_bytes < kLargeRequestBytes) return settings_.large_segment_bytes;
  return whole(block_bytes, kRoundingBytes);
}

FreeBlocks* CachingAllocator::home_of(bool is_small, int64_t stream) {
  for (FreeBlocks& home : homes_) {
    if (home.is_small == is_small && home.stream == stream) return &home;
  }
  const bool keeps_small_rests = is_small || settings_.has_expandable_segments;
  const int64_t smallest_rest = keeps_small_rests ? kMinBlockBytes : kSmallRequestBytes + 1;
  return &homes_.emplace_back(FreeBlocks{is_small, stream, smallest_rest, {}, {}});
}

// The index of the block to take, from `at`, the smallest one with room, on; the end: none.
size_t CachingAllocator::best_fit(FreeBlocks* home, int64_t size, size_t at) {
  if (collector_.is_on) collector_.count_search(home);
  const size_t none = home->entries.size();
  if (at == none) return none;
  if (settings_.has_expandable_segments) at = best_to_grow(home, at);
  if (has_split_limit_) {
    const int64_t found = home->entries[at].size_bytes;
    if (size < settings_.max_split_bytes && settings_.max_split_bytes <= found) return none;
    if (size >= settings_.max_split_bytes &&
        found >= size + settings_.max_non_split_rounding_bytes) {
      return none;
    }
  }
  return at;
}

// Takes a block of new memory; gives cached memory back where the card has too little.
Block* CachingAllocator::new_memory(FreeBlocks* home, int64_t size) {
  const int64_t segment = segment_bytes(size);
  if (collector_.is_on) {
    for (Block* old : collector_.collect(homes_, reserved_bytes)) release(old);
  }
  if (reserved_bytes + segment > settings_.reject_above_bytes) return nullptr;
  Block* block = grow(home, size, segment);
  if (!block && release_oversize(home, size)) block = grow(home, size, segment);
  if (!block) {
    empty_cache();
    ++alloc_retries;
    block = grow(home, size, segment);
  }
  return block;
}

Block* CachingAllocator::grow(FreeBlocks* home, int64_t size, int64_t segment) {
  if (reserved_bytes + segment > settings_.allowed_bytes) return nullptr;
  Block* block;
  if (settings_.has_expandable_segments) {
    block = expandable_.grow(home, size);
    reserved_bytes = expandable_.mapped_bytes();
  } else {
    const std::optional<int64_t> address = device_.allocate(segment);
    if (!address) return nullptr;
    block = store_.make(home, *address, segment, numbering_.of_segment());
    reserved_bytes += segment;
  }
  peak_reserved_bytes = std::max(peak_reserved_bytes, reserved_bytes);
  return block;
}

void CachingAllocator::make_free(Block* block) {
  active_bytes -= block->size_bytes;
  block->in_use = false;
  absorb_neighbours(store_, block);
  if (collector_.is_on) collector_.stamp(block);
  block->home->insert(block);
}

// Gives a whole free segment back to the card.
void CachingAllocator::release(Block* block) {
  block->home->remove(block);
  device_.release(block->address, block->size_bytes);
  reserved_bytes -= block->size_bytes;
  store_.discard(block);
}

// Gives back just enough blocks too large to be split; only with max_split_size_mb.
bool CachingAllocator::release_oversize(FreeBlocks* home, int64_t size) {
  if (!has_split_limit_) return false;
  const int64_t wanted = std::max(size, settings_.max_split_bytes);
  const size_t at = home->first_of(wanted);
  if (at < home->entries.size() && !settings_.has_expandable_segments) {
    release(home->entries[at].block);
    return true;
  }
  int64_t released = 0;
  std::vector<Block*> blocks = home->blocks();
  for (size_t index = at; index-- > 0;) {  // the largest first
    Block* block = blocks[index];
    if (released >= wanted || block->size_bytes < settings_.max_split_bytes) break;
    if (!settings_.has_expandable_segments) {
      released += block->size_bytes;
      release(block);
    }
  }
  return released >= wanted;
}

}  // namespace replayed
