// The card below the allocator: the memory that is left, and the addresses of segments.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "settings.h"

namespace replayed {

// Memory is charged in whole pages; new addresses are below all earlier ones, as the driver does.
class DeviceMemory {
 public:
  explicit DeviceMemory(int64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  std::optional<int64_t> allocate(int64_t size_bytes);
  void release(int64_t address, int64_t size_bytes);
  bool charge(int64_t size_bytes);
  void discharge(int64_t size_bytes) { charged_bytes_ -= size_bytes; }
  // The high end of the highest free range that is large enough, else new addresses.
  int64_t take_addresses(int64_t size_bytes);
  void give_addresses(int64_t begin, int64_t size_bytes);

 private:
  struct Range {
    int64_t begin;
    int64_t size_bytes;
  };

  int64_t capacity_bytes_;
  int64_t charged_bytes_ = 0;
  int64_t lowest_ = 0;  // all addresses below are unused
  std::vector<Range> free_;
};

inline int64_t pages(int64_t size_bytes) { return whole(size_bytes, kPageBytes); }

}  // namespace replayed
