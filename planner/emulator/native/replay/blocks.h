// Blocks of device memory with their neighbours; a pool's free blocks in order of best fit.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "settings.h"

namespace replayed {

struct FreeBlocks;

struct Block {
  FreeBlocks* home;
  int64_t address;
  int64_t size_bytes;
  int64_t order;          // breaks ties between free blocks of one size
  int64_t segment_begin;  // an expandable segment counts its pages from here
  int64_t freed_at;       // searches of the pool when the block became free
  Block* previous;
  Block* next;
  bool in_use;
  bool mapped;

  bool is_split() const { return previous || next; }
};

// Gives out blocks, and takes back those that were joined to others or given back to the card.
class BlockStore {
 public:
  Block* make(FreeBlocks* home, int64_t address, int64_t size_bytes, int64_t order);
  void discard(Block* block) { unused_.push_back(block); }

 private:
  std::deque<Block> blocks_;
  std::vector<Block*> unused_;
};

// Free blocks of one pool (small or large) and one stream, smallest first. In use: never here.
struct FreeBlocks {
  struct Entry {
    int64_t size_bytes;
    int64_t order;
    int64_t address;
    Block* block;
  };

  bool is_small;
  int64_t stream;
  int64_t smallest_rest_bytes;  // a block with this much more than a request is cut in two
  std::vector<Entry> entries;
  std::vector<Block*> unmapped;  // by address: parts of expandable segments without memory

  void insert(Block* block);
  void remove(Block* block);
  size_t first_of(int64_t size_bytes) const;
  std::vector<Block*> blocks() const;
};

// Gives blocks the `order` by which the version of torch breaks ties.
class Numbering {
 public:
  explicit Numbering(TieBreak tie_break) : tie_break_(tie_break) {}
  int64_t of_segment() { return tie_break_ == TieBreak::kLowestAddress ? 0 : ++last_; }
  int64_t of_part(const Block* block) {
    return tie_break_ == TieBreak::kOldestBlock ? ++last_ : block->order;
  }

 private:
  TieBreak tie_break_;
  int64_t last_ = 0;
};

// Makes a block of the first `size_bytes` of `block`, which keeps the rest.
Block* cut(BlockStore& store, Block* block, int64_t size_bytes, int64_t order);
void link_before(Block* made, Block* block);
void link_after(Block* made, Block* block);
// Joins the free neighbours whose `mapped` is the same as this block's.
void absorb_neighbours(BlockStore& store, Block* block);

}  // namespace replayed
