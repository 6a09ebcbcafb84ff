// Copies and fills. Nothing is stored on the device. What is read back from it is zero unless the
// planner, which is called for each such read, writes what it knows, or contents are kept (see
// contents.h). Small copies to the device are kept for a moment: torch makes some tensors where the
// planner sees no operator (torch.tensor).
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "contents.h"
#include "device.h"
#include "memory.h"
#include "status.h"
#include "streams.h"

using namespace emulated;

namespace {

using ReadCallback = void (*)(size_t bytes, void* destination, const void* source);
std::atomic<ReadCallback> g_on_read{nullptr};

constexpr size_t kSentBytes = 1 << 20;  // of one copy
constexpr size_t kSentCopies = 16;

struct Sent {
  const void* address = nullptr;
  size_t bytes = 0;
  char content[kSentBytes];
};

// The last small copies to the device, in a ring; made when the first read is asked about.
struct SentCopies {
  std::mutex mutex;
  Sent copies[kSentCopies];
  size_t next = 0;
};
std::atomic<SentCopies*> g_sent{nullptr};

void remember(const void* address, const void* content, size_t bytes) {
  SentCopies* sent = g_sent.load();
  if (!sent || bytes > kSentBytes) return;
  std::lock_guard<std::mutex> lock(sent->mutex);
  Sent& copy = sent->copies[sent->next++ % kSentCopies];
  copy.address = address;
  copy.bytes = bytes;
  memcpy(copy.content, content, bytes);
}

ContentPointer sent_content(const void* source, size_t bytes) {
  if (!contents::are_kept() || bytes > kContentBytes) return nullptr;
  return known_content(all_known({static_cast<const char*>(source), bytes}));
}

cudaError_t copy(void* destination, const void* source, size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (on_device(destination)) {
    if (on_device(source)) {
      contents::copy(destination, source, bytes);
    } else {
      remember(destination, source, bytes);
      contents::put(destination, bytes, sent_content(source, bytes));
    }
    return cudaSuccess;
  }
  if (!on_device(source)) {
    memmove(destination, source, bytes);
    return cudaSuccess;
  }
  memset(destination, 0, bytes);
  const Content::State state = contents::read(source, bytes, destination);
  if (state == Content::State::kLost) return report(cudaErrorExternalDevice);
  if (state == Content::State::kKnown) return cudaSuccess;
  if (ReadCallback callback = g_on_read.load()) callback(bytes, destination, source);
  return cudaSuccess;
}

enum class Host { kWaits, kGoesOn };

bool is_page_locked(const void* address) {
  Range range;
  if (!find_range(address, &range)) return false;
  return range.kind == RangeKind::kPinned || range.kind == RangeKind::kRegistered;
}

// Counts one copy. The host waits for a copy from the card even where it did not say so, if its own
// memory is not page-locked ("API synchronization behavior" of the CUDA runtime's reference).
void count_copy(const void* destination, const void* source, Host host) {
  const bool to_card = on_device(destination);
  const bool from_card = on_device(source);
  if (!to_card && !from_card) return;
  launched();
  if (to_card && from_card) return;
  if (host == Host::kWaits || (from_card && !is_page_locked(destination))) waited();
}

cudaError_t copy_2d(void* destination, size_t destination_pitch, const void* source,
                    size_t source_pitch, size_t width, size_t height) {
  for (size_t row = 0; row < height; row++) {
    const cudaError_t error = copy(static_cast<char*>(destination) + row * destination_pitch,
                                   static_cast<const char*>(source) + row * source_pitch, width);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t fill(void* destination, int value, size_t bytes) {
  if (!on_device(destination)) {
    memset(destination, value, bytes);
    return cudaSuccess;
  }
  launched();
  if (contents::are_kept()) {
    const size_t kept = bytes <= kContentBytes ? bytes : 0;
    contents::put(destination, bytes,
                  known_content(all_known(std::string(kept, static_cast<char>(value)))));
  }
  return cudaSuccess;
}

}  // namespace

// Called for every copy from the device to the host of which not all is known: the destination holds
// what is known, else zeros, and may be written. Null switches it off.
EXPORT void planner_device_on_read(ReadCallback callback) { g_on_read.store(callback); }

// From now on small copies to the device are kept.
EXPORT void planner_device_keep_sent() {
  if (!g_sent.load()) g_sent.store(new SentCopies);  // not zeroed: most of it is never touched
}

// Writes to `content` what the last kept copy to `address` has brought; 0 if none was of that size.
EXPORT int planner_device_sent(const void* address, size_t bytes, void* content) {
  SentCopies* sent = g_sent.load();
  if (!sent) return 0;
  std::lock_guard<std::mutex> lock(sent->mutex);
  for (size_t back = 1; back <= std::min(sent->next, kSentCopies); back++) {
    const Sent& copy = sent->copies[(sent->next - back) % kSentCopies];
    if (copy.address != address) continue;
    if (copy.bytes != bytes) return 0;
    memcpy(content, copy.content, bytes);
    return 1;
  }
  return 0;
}

EXPORT cudaError_t cudaMemcpy(void* destination, const void* source, size_t bytes,
                              enum cudaMemcpyKind) {
  count_copy(destination, source, Host::kWaits);
  return copy(destination, source, bytes);
}
EXPORT cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes,
                                   enum cudaMemcpyKind, cudaStream_t) {
  count_copy(destination, source, Host::kGoesOn);
  return copy(destination, source, bytes);
}
EXPORT cudaError_t cudaMemcpy2D(void* destination, size_t destination_pitch, const void* source,
                                size_t source_pitch, size_t width, size_t height,
                                enum cudaMemcpyKind) {
  count_copy(destination, source, Host::kWaits);
  return copy_2d(destination, destination_pitch, source, source_pitch, width, height);
}
EXPORT cudaError_t cudaMemcpy2DAsync(void* destination, size_t destination_pitch,
                                     const void* source, size_t source_pitch, size_t width,
                                     size_t height, enum cudaMemcpyKind, cudaStream_t) {
  count_copy(destination, source, Host::kGoesOn);
  return copy_2d(destination, destination_pitch, source, source_pitch, width, height);
}
EXPORT cudaError_t cudaMemcpyPeer(void* destination, int, const void* source, int, size_t bytes) {
  count_copy(destination, source, Host::kGoesOn);
  return copy(destination, source, bytes);
}
EXPORT cudaError_t cudaMemcpyPeerAsync(void* destination, int, const void* source, int,
                                       size_t bytes, cudaStream_t) {
  count_copy(destination, source, Host::kGoesOn);
  return copy(destination, source, bytes);
}
EXPORT cudaError_t cudaMemset(void* destination, int value, size_t bytes) {
  return fill(destination, value, bytes);
}
EXPORT cudaError_t cudaMemsetAsync(void* destination, int value, size_t bytes, cudaStream_t) {
  return fill(destination, value, bytes);
}

EXPORT cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t,
                                      enum cudaMemcpyKind) {
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyToSymbolAsync(const void*, const void*, size_t, size_t,
                                           enum cudaMemcpyKind, cudaStream_t) {
  return cudaSuccess;
}
EXPORT cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  *pointer = const_cast<void*>(symbol);
  return cudaSuccess;
}

EXPORT cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t*, void*) {
  return report(cudaErrorNotSupported);
}
EXPORT cudaError_t cudaIpcOpenMemHandle(void**, cudaIpcMemHandle_t, unsigned) {
  return report(cudaErrorNotSupported);
}
EXPORT cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t*, cudaEvent_t) {
  return report(cudaErrorNotSupported);
}
EXPORT cudaError_t cudaIpcOpenEventHandle(cudaEvent_t*, cudaIpcEventHandle_t) {
  return report(cudaErrorNotSupported);
}
