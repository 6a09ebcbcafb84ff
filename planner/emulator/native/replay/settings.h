// What the replay needs of AllocatorSettings, in bytes of one card; native.py has the same structure.
#pragma once
#include <cstdint>

namespace replayed {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kMinBlockBytes = 512;
constexpr int64_t kSmallRequestBytes = kMiB;
constexpr int64_t kSmallSegmentBytes = 2 * kMiB;
constexpr int64_t kLargeRequestBytes = 10 * kMiB;
constexpr int64_t kRoundingBytes = 2 * kMiB;
constexpr int64_t kPageBytes = 2 * kMiB;
constexpr int kIntervals = 16;
// Above every sum of bytes that a replay makes, so that no addition overflows.
constexpr int64_t kWithoutLimitBytes = int64_t{1} << 61;

enum class TieBreak : int32_t { kLowestAddress, kOldestBlock, kOldestSegment };

struct Settings {
  int64_t capacity_bytes;
  int64_t large_segment_bytes;
  int64_t max_split_bytes;  // kWithoutLimitBytes: every block may be split
  int64_t max_non_split_rounding_bytes;
  int64_t allowed_bytes;            // kWithoutLimitBytes: no limit
  int64_t reject_above_bytes;       // kWithoutLimitBytes: no limit
  int64_t collect_above_bytes;      // -1: no garbage collection
  int64_t segment_addresses_bytes;  // of an expandable segment
  int32_t roundup_divisions[kIntervals];
  int32_t rounds_up;
  int32_t has_expandable_segments;
  TieBreak tie_break;
};

inline int64_t whole(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace replayed
