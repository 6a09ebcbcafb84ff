// Contents of device memory as pieces that do not overlap, each a stretch of a content.
#include "contents.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "device.h"

namespace emulated {
namespace {

class KnownContent : public Content {
 public:
  explicit KnownContent(KnownBytes bytes) : bytes_(std::move(bytes)) {}
  State state() override { return State::kKnown; }
  void await() override {}
  const KnownBytes& bytes() override { return bytes_; }

 private:
  KnownBytes bytes_;
};

struct Piece {
  size_t size = 0;
  size_t offset = 0;  // in the content
  ContentPointer content;
};

// Host memory that contents may take together. A model that is copied to the card tensor by tensor
// is not kept here: beyond this all is forgotten.
constexpr size_t kAllBytes = size_t{64} << 20;

std::atomic<bool> g_kept{false};
std::atomic<bool> g_any{false};
thread_local bool t_held = false;

class Pieces {
 public:
  std::mutex mutex;

  // Pieces inside the range, cut at its ends.
  std::vector<std::pair<uintptr_t, Piece>> within(uintptr_t begin, size_t bytes) const {
    std::vector<std::pair<uintptr_t, Piece>> found;
    auto it = map_.upper_bound(begin);
    if (it != map_.begin()) --it;
    for (; it != map_.end() && it->first < begin + bytes; ++it) {
      const uintptr_t from = std::max(begin, it->first);
      const uintptr_t to = std::min(begin + bytes, it->first + it->second.size);
      if (from >= to) continue;
      const size_t skipped = from - it->first;
      found.push_back({from, {to - from, it->second.offset + skipped, it->second.content}});
    }
    return found;
  }

  void erase(uintptr_t begin, size_t bytes) {
    const uintptr_t end = begin + bytes;
    auto it = map_.upper_bound(begin);
    if (it != map_.begin()) --it;
    while (it != map_.end() && it->first < end) {
      const uintptr_t first = it->first;
      const Piece piece = it->second;
      const uintptr_t last = first + piece.size;
      if (last <= begin) {
        ++it;
        continue;
      }
      it = map_.erase(it);
      bytes_ -= piece.size;
      if (first < begin) add(first, {begin - first, piece.offset, piece.content});
      if (last > end) add(end, {last - end, piece.offset + (end - first), piece.content});
    }
  }

  void add(uintptr_t begin, const Piece& piece) {
    map_[begin] = piece;
    bytes_ += piece.size;
    if (bytes_ > kAllBytes) clear();
  }

  void clear() {
    map_.clear();
    bytes_ = 0;
  }

 private:
  std::map<uintptr_t, Piece> map_;
  size_t bytes_ = 0;
};

Pieces& pieces() {
  static auto* all = new Pieces();
  return *all;
}

using Lock = std::lock_guard<std::mutex>;

uintptr_t number(const void* address) { return reinterpret_cast<uintptr_t>(address); }

std::vector<std::pair<uintptr_t, Piece>> pieces_within(const void* address, size_t bytes) {
  Lock lock(pieces().mutex);
  return pieces().within(number(address), bytes);
}

// The known spans of the bytes inside the piece, cut at its ends.
std::vector<Span> spans_within(const KnownBytes& bytes, const Piece& piece) {
  std::vector<Span> found;
  for (const Span& span : bytes.spans) {
    const size_t from = std::max(span.begin, piece.offset);
    const size_t to = std::min(span.begin + span.size, piece.offset + piece.size);
    if (from < to) found.push_back({from, to - from});
  }
  return found;
}

// Adds what is known of the piece, which begins at `begin`.
void add_known(KnownBytes& all, size_t begin, const Piece& piece) {
  const KnownBytes& bytes = piece.content->bytes();
  for (const Span& span : spans_within(bytes, piece)) {
    const size_t at = begin + (span.begin - piece.offset);
    memcpy(&all.text[at], bytes.text.data() + span.begin, span.size);
    if (!all.spans.empty() && all.spans.back().begin + all.spans.back().size == at)
      all.spans.back().size += span.size;
    else
      all.spans.push_back({at, span.size});
  }
}

}  // namespace

bool KnownBytes::have(size_t begin, size_t size) const {
  for (const Span& span : spans)
    if (span.begin <= begin && begin + size <= span.begin + span.size) return true;
  return size == 0;
}

KnownBytes all_known(std::string text) {
  const size_t size = text.size();
  return {std::move(text), {{0, size}}};
}

ContentPointer known_content(KnownBytes bytes) {
  return std::make_shared<KnownContent>(std::move(bytes));
}

namespace contents {

bool are_kept() { return g_kept.load(); }

void put(const void* address, size_t bytes, const ContentPointer& content) {
  if (!are_kept() || bytes == 0) return;
  Lock lock(pieces().mutex);
  pieces().erase(number(address), bytes);
  if (!content || bytes > kContentBytes) return;
  pieces().add(number(address), {bytes, 0, content});
  g_any.store(true);
}

void copy(void* destination, const void* source, size_t bytes) {
  if (!g_any.load()) return;
  Lock lock(pieces().mutex);
  const auto brought = pieces().within(number(source), bytes);
  pieces().erase(number(destination), bytes);
  for (const auto& [begin, piece] : brought)
    pieces().add(number(destination) + (begin - number(source)), piece);
}

Content::State read(const void* address, size_t bytes, void* out) {
  if (!g_any.load()) return Content::State::kUnknown;
  size_t known_bytes = 0;
  for (const auto& [begin, piece] : pieces_within(address, bytes)) {
    piece.content->await();
    const Content::State state = piece.content->state();
    if (state == Content::State::kLost) return state;
    if (state != Content::State::kKnown) continue;
    const KnownBytes& all = piece.content->bytes();
    for (const Span& span : spans_within(all, piece)) {
      memcpy(static_cast<char*>(out) + (begin - number(address)) + (span.begin - piece.offset),
             all.text.data() + span.begin, span.size);
      known_bytes += span.size;
    }
  }
  return known_bytes == bytes ? Content::State::kKnown : Content::State::kUnknown;
}

ContentPointer get(const void* address, size_t bytes) {
  if (!g_any.load() || bytes > kContentBytes) return nullptr;
  KnownBytes all{std::string(bytes, 0), {}};
  for (const auto& [begin, piece] : pieces_within(address, bytes)) {
    piece.content->await();
    if (piece.content->state() != Content::State::kKnown) continue;
    add_known(all, begin - number(address), piece);
  }
  return all.spans.empty() ? nullptr : known_content(std::move(all));
}

void launched() {
  if (t_held || !g_any.load()) return;
  Lock lock(pieces().mutex);
  pieces().clear();
  g_any.store(false);
}

}  // namespace contents
}  // namespace emulated

using namespace emulated;

// From now on contents of small ranges are kept.
EXPORT void planner_device_keep_contents() { g_kept.store(true); }

// Writes what the range holds to `out`; 0 if it is not known.
EXPORT int planner_device_content(const void* address, size_t bytes, void* out) {
  return contents::read(address, bytes, out) == Content::State::kKnown;
}

// The range holds these bytes; null: nothing that is known.
EXPORT void planner_device_set_content(const void* address, size_t bytes, const void* content) {
  const bool is_kept = content && bytes <= kContentBytes;
  contents::put(
      address, bytes,
      is_kept ? known_content(all_known({static_cast<const char*>(content), bytes})) : nullptr);
}

// While this is on, launches of the calling thread leave contents as they are: the caller knows
// what they write and says so with planner_device_set_content.
EXPORT void planner_device_hold_contents(int held) { t_held = held != 0; }
