// What small stretches of device memory hold, where that is certain: what copies and messages of
// other ranks have brought there since the last launch. Off until it is asked for.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace emulated {

// Of one copy or message. What is larger is not kept.
constexpr size_t kContentBytes = size_t{1} << 20;

struct Span {
  size_t begin = 0;
  size_t size = 0;
};

// Bytes of which those in the spans are known, in order and apart from each other. The others are
// zeros: a tensor that was made larger holds what it held, and more.
struct KnownBytes {
  std::string text;
  std::vector<Span> spans;

  bool have(size_t begin, size_t size) const;
  bool are_all() const { return have(0, text.size()); }
};

KnownBytes all_known(std::string text);

// Bytes that are known, that were never sent because they are not, or that are on their way.
class Content {
 public:
  enum class State {
    kComing,   // from another rank
    kKnown,    // bytes() has some
    kUnknown,  // whoever sent them did not know them either
    kLost,     // they never come: fault() says why
  };

  virtual ~Content() = default;
  // The state now; a look, without waiting.
  virtual State state() = 0;
  // Waits until the state is another than kComing.
  virtual void await() = 0;
  virtual const KnownBytes& bytes() = 0;
  virtual std::string fault() { return {}; }
};

using ContentPointer = std::shared_ptr<Content>;

ContentPointer known_content(KnownBytes bytes);

namespace contents {

bool are_kept();

// The range holds this content from now on; null: nothing that is known.
void put(const void* address, size_t bytes, const ContentPointer& content);
// Takes what the source holds to the destination, also what is on its way.
void copy(void* destination, const void* source, size_t bytes);
// Writes to `out` what is known of the range; kKnown if that is all of it, kLost if a part never
// comes, else kUnknown. Waits for what is on its way.
Content::State read(const void* address, size_t bytes, void* out);
// The range as one content; null if none of it is known, or it is larger than what is kept.
ContentPointer get(const void* address, size_t bytes);

// Something was started that may write anywhere on the device: nothing is certain any more. What a
// kernel gets cannot be read here (neither the number of its arguments nor their sizes are passed
// to a launch), so every launch counts.
void launched();

}  // namespace contents
}  // namespace emulated
