// Blocks of device memory: cut, joined, and found by best fit.
#include "blocks.h"

#include <algorithm>
#include <tuple>

namespace replayed {

namespace {

bool before(const FreeBlocks::Entry& one, const FreeBlocks::Entry& other) {
  return std::tie(one.size_bytes, one.order, one.address) <
         std::tie(other.size_bytes, other.order, other.address);
}

FreeBlocks::Entry entry_of(Block* block) {
  return {block->size_bytes, block->order, block->address, block};
}

bool is_lower(const Block* one, const Block* other) { return one->address < other->address; }

}  // namespace

Block* BlockStore::make(FreeBlocks* home, int64_t address, int64_t size_bytes, int64_t order) {
  Block* block;
  if (unused_.empty()) {
    block = &blocks_.emplace_back();
  } else {
    block = unused_.back();
    unused_.pop_back();
  }
  *block = {home, address, size_bytes, order, address, 0, nullptr, nullptr, false, true};
  return block;
}

void FreeBlocks::insert(Block* block) {
  if (block->mapped) {
    const Entry entry = entry_of(block);
    entries.insert(std::upper_bound(entries.begin(), entries.end(), entry, before), entry);
  } else {
    unmapped.insert(std::lower_bound(unmapped.begin(), unmapped.end(), block, is_lower), block);
  }
}

void FreeBlocks::remove(Block* block) {
  if (block->mapped) {
    entries.erase(std::lower_bound(entries.begin(), entries.end(), entry_of(block), before));
  } else {
    unmapped.erase(std::lower_bound(unmapped.begin(), unmapped.end(), block, is_lower));
  }
}

size_t FreeBlocks::first_of(int64_t size_bytes) const {
  const auto at = std::lower_bound(
      entries.begin(), entries.end(), size_bytes,
      [](const Entry& entry, int64_t wanted) { return entry.size_bytes < wanted; });
  return at - entries.begin();
}

std::vector<Block*> FreeBlocks::blocks() const {
  std::vector<Block*> found;
  found.reserve(entries.size());
  for (const Entry& entry : entries) found.push_back(entry.block);
  return found;
}

Block* cut(BlockStore& store, Block* block, int64_t size_bytes, int64_t order) {
  Block* front = store.make(block->home, block->address, size_bytes, order);
  front->segment_begin = block->segment_begin;
  front->previous = block->previous;
  if (front->previous) front->previous->next = front;
  front->next = block;
  block->previous = front;
  block->address += size_bytes;
  block->size_bytes -= size_bytes;
  return front;
}

void link_before(Block* made, Block* block) {
  made->segment_begin = block->segment_begin;
  made->previous = block->previous;
  made->next = block;
  if (made->previous) made->previous->next = made;
  block->previous = made;
}

void link_after(Block* made, Block* block) {
  made->segment_begin = block->segment_begin;
  made->previous = block;
  made->next = block->next;
  if (made->next) made->next->previous = made;
  block->next = made;
}

void absorb_neighbours(BlockStore& store, Block* block) {
  Block* lower = block->previous;
  if (lower && !lower->in_use && lower->mapped == block->mapped) {
    lower->home->remove(lower);
    block->address = lower->address;
    block->size_bytes += lower->size_bytes;
    block->previous = lower->previous;
    if (block->previous) block->previous->next = block;
    store.discard(lower);
  }
  Block* upper = block->next;
  if (upper && !upper->in_use && upper->mapped == block->mapped) {
    upper->home->remove(upper);
    block->size_bytes += upper->size_bytes;
    block->next = upper->next;
    if (block->next) block->next->previous = block;
    store.discard(upper);
  }
}

}  // namespace replayed
