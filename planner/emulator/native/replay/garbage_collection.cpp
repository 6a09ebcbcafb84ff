// Chooses cached segments to give back before the card is full (garbage_collection_threshold).
#include "garbage_collection.h"

namespace replayed {

std::vector<Block*> GarbageCollector::collect(const std::deque<FreeBlocks>& homes,
                                              int64_t reserved_bytes) const {
  const int64_t target = reserved_bytes - above_bytes_;
  std::vector<Block*> chosen;
  if (target <= 0 || !can_release_) return chosen;
  std::vector<Block*> waiting;
  for (const FreeBlocks& home : homes) {
    if (home.is_small) continue;
    for (const auto& entry : home.entries) {
      if (!entry.block->is_split()) waiting.push_back(entry.block);
    }
  }
  int64_t reclaimed = 0;
  while (!waiting.empty() && reclaimed < target) {
    int64_t sum = 0;
    for (const Block* block : waiting) sum += age(block);
    const double average = static_cast<double>(sum) / static_cast<double>(waiting.size());
    std::vector<Block*> younger;
    for (Block* block : waiting) {
      if (static_cast<double>(age(block)) >= average) {
        chosen.push_back(block);
        reclaimed += block->size_bytes;
      } else {
        younger.push_back(block);
      }
    }
    if (younger.size() == waiting.size()) break;
    waiting.swap(younger);
  }
  return chosen;
}

}  // namespace replayed
