// Expandable segments: addresses for more than the card, with memory mapped by pages.
#include "expandable.h"

#include <algorithm>

namespace replayed {

namespace {

bool has_room(const Block* block, int64_t size_bytes) {
  while (size_bytes > 0 && block && !block->in_use) {
    size_bytes -= block->size_bytes;
    block = block->next;
  }
  return size_bytes <= 0;
}

int64_t reach(const Block* block) {
  const Block* following = block->next;
  if (!following || following->mapped) return block->size_bytes;
  return block->size_bytes + following->size_bytes;
}

}  // namespace

Block* ExpandableSegments::grow(FreeBlocks* home, int64_t size_bytes) {
  Block* block = room(home, size_bytes);
  if (!block) return nullptr;
  if (!block->mapped && !map(block, std::min(block->size_bytes, size_bytes))) return nullptr;
  while (block->size_bytes < size_bytes) {
    Block* following = block->next;
    const int64_t missing = size_bytes - block->size_bytes;
    if (!map(following, std::min(missing, following->size_bytes))) return nullptr;
    block = following;
  }
  home->remove(block);
  return block;
}

void ExpandableSegments::unmap(FreeBlocks* home) {
  for (Block* block : home->blocks()) {
    unmap_pages(block);
    if (!block->mapped && !block->is_split()) {
      home->remove(block);
      device_.give_addresses(block->address, pages(block->size_bytes));
      store_.discard(block);
    }
  }
}

Block* ExpandableSegments::room(FreeBlocks* home, int64_t size_bytes) {
  for (Block* block : home->unmapped) {
    Block* lower = block->previous;
    Block* first = lower && !lower->in_use ? lower : block;
    if (has_room(first, size_bytes)) return first;
  }
  const int64_t total = whole(settings_.segment_addresses_bytes, page_bytes(home));
  if (total < size_bytes) return nullptr;
  const int64_t address = device_.take_addresses(pages(total));
  Block* block = store_.make(home, address, total, numbering_.of_segment());
  block->mapped = false;
  home->insert(block);
  return block;
}

bool ExpandableSegments::map(Block* block, int64_t size_bytes) {
  FreeBlocks* home = block->home;
  const int64_t page = page_bytes(home);
  const int64_t count = (size_bytes + page - 1) / page;
  if (!device_.charge(count * pages(page))) return false;
  home->remove(block);
  const int64_t mapped = count * page;
  block->mapped = true;
  if (mapped < block->size_bytes) {
    Block* rest = store_.make(home, block->address + mapped, block->size_bytes - mapped,
                              numbering_.of_part(block));
    rest->mapped = false;
    link_after(rest, block);
    home->insert(rest);
    block->size_bytes = mapped;
  }
  absorb_neighbours(store_, block);
  home->insert(block);
  mapped_bytes_ += mapped;
  return true;
}

void ExpandableSegments::unmap_pages(Block* block) {
  FreeBlocks* home = block->home;
  const int64_t page = page_bytes(home);
  const int64_t offset = block->address - block->segment_begin;
  const int64_t begin = whole(offset, page);
  const int64_t end = (offset + block->size_bytes) / page * page;
  if (begin >= end) return;
  home->remove(block);
  if (begin > offset) {
    Block* part = store_.make(home, block->address, begin - offset, numbering_.of_part(block));
    link_before(part, block);
    home->insert(part);
  }
  if (offset + block->size_bytes > end) {
    Block* part = store_.make(home, block->segment_begin + end, offset + block->size_bytes - end,
                              numbering_.of_part(block));
    link_after(part, block);
    home->insert(part);
  }
  block->address = block->segment_begin + begin;
  block->size_bytes = end - begin;
  block->mapped = false;
  absorb_neighbours(store_, block);
  home->insert(block);
  mapped_bytes_ -= end - begin;
  device_.discharge((end - begin) / page * pages(page));
}

size_t best_to_grow(const FreeBlocks* home, size_t at) {
  const auto& entries = home->entries;
  while (at + 1 < entries.size() && reach(entries[at + 1].block) < reach(entries[at].block)) ++at;
  return at;
}

}  // namespace replayed
