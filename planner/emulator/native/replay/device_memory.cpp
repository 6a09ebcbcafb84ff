// The card below the allocator: the memory that is left, and the addresses of segments.
#include "device_memory.h"

#include <algorithm>

namespace replayed {

std::optional<int64_t> DeviceMemory::allocate(int64_t size_bytes) {
  size_bytes = pages(size_bytes);
  if (!charge(size_bytes)) return std::nullopt;
  return take_addresses(size_bytes);
}

void DeviceMemory::release(int64_t address, int64_t size_bytes) {
  size_bytes = pages(size_bytes);
  discharge(size_bytes);
  give_addresses(address, size_bytes);
}

bool DeviceMemory::charge(int64_t size_bytes) {
  if (charged_bytes_ + size_bytes > capacity_bytes_) return false;
  charged_bytes_ += size_bytes;
  return true;
}

int64_t DeviceMemory::take_addresses(int64_t size_bytes) {
  size_t at = free_.size();
  while (at > 0 && free_[at - 1].size_bytes < size_bytes) --at;
  if (at == 0) {
    lowest_ -= size_bytes;
    return lowest_;
  }
  Range& range = free_[at - 1];
  range.size_bytes -= size_bytes;
  const int64_t address = range.begin + range.size_bytes;
  if (range.size_bytes == 0) free_.erase(free_.begin() + (at - 1));
  return address;
}

void DeviceMemory::give_addresses(int64_t begin, int64_t size_bytes) {
  auto at =
      std::lower_bound(free_.begin(), free_.end(), begin,
                       [](const Range& range, int64_t wanted) { return range.begin < wanted; });
  if (at != free_.end() && begin + size_bytes == at->begin) {
    size_bytes += at->size_bytes;
    at = free_.erase(at);
  }
  if (begin == lowest_) {
    lowest_ += size_bytes;
  } else if (at != free_.begin() && (at - 1)->begin + (at - 1)->size_bytes == begin) {
    (at - 1)->size_bytes += size_bytes;
  } else {
    free_.insert(at, {begin, size_bytes});
  }
}

}  // namespace replayed
