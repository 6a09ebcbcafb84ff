// Streams and events. An event remembers host time, and the time that work would have taken where
// that is told (see spend).
//
// Work changes nothing, so only one question depends on when it is done: PyTorch's allocator takes
// memory back that another stream has used (record_stream) once a query says that the event after
// the last use is done. A card that is `launch_lag` launches behind the host has reached an event
// when that many launches came after it, or when the host has waited since. All streams count as
// one queue. Whoever else queries is answered "done": its loops would wait for time to pass.
//
// What another rank has not sent yet is not there (see arrivals.h): for that a host waits, and gets
// "not ready". Only the allocator does not, so that the memory of a rank is that of equal peers.
#include "streams.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include <dlfcn.h>
#include <time.h>

#include "arrivals.h"
#include "contents.h"
#include "device.h"
#include "status.h"

using namespace emulated;

namespace {

struct Event {
  double recorded_ms = 0;
  uint64_t launches = 0;    // queued before it was recorded
  uint64_t queried_at = 0;  // launches at the last query by the allocator
  int queries = 0;          // by the allocator, since the last launch
};

std::atomic<uint64_t> g_launches{0};
std::atomic<uint64_t> g_waited_for{0};  // launches that the host has waited for
std::atomic<int> g_captures{0};

// A host that queries so often without a launch does nothing else than wait (torch.Event.query()
// comes from the allocator's library too).
constexpr int kPatience = 1 << 16;

void waited_for(uint64_t launches) {
  uint64_t before = g_waited_for.load();
  while (before < launches && !g_waited_for.compare_exchange_weak(before, launches)) {
  }
}

bool is_reached(const Event& event) {
  if (event.launches <= g_waited_for.load()) return true;
  return g_launches.load() - event.launches >= profile().launch_lag;
}

// The allocator's query of an event that the card has not reached: whether its patience ends.
bool is_waited_out(Event& event) {
  const uint64_t launches = g_launches.load();
  event.queries = launches == event.queried_at ? event.queries + 1 : 1;
  event.queried_at = launches;
  return event.queries > kPatience;
}

enum class Caller {
  kAllocator,  // PyTorch's caching allocator
  kTorch,      // its pinned memory and its watchdog of collectives: they only look
  kOther,      // the user's code: with the answer it goes on as if it had waited
};

Caller caller_of(const void* address) {
  Dl_info library;
  if (!dladdr(address, &library) || !library.dli_fname) return Caller::kOther;
  if (strstr(library.dli_fname, "libc10_cuda")) return Caller::kAllocator;
  return strstr(library.dli_fname, "libtorch_cuda") ? Caller::kTorch : Caller::kOther;
}

double now_ms() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

std::atomic<double> g_spent_ms{0};

Event* event_object(cudaEvent_t event) { return reinterpret_cast<Event*>(event); }

}  // namespace

namespace emulated {

Stream* stream_object(cudaStream_t stream) {
  // 0, cudaStreamLegacy (1) and cudaStreamPerThread (2) are not ours.
  return reinterpret_cast<uintptr_t>(stream) <= 2 ? nullptr : reinterpret_cast<Stream*>(stream);
}

void launched() {
  if (!g_captures.load(std::memory_order_relaxed)) {
    g_launches.fetch_add(1, std::memory_order_relaxed);
  }
}

void waited() { waited_for(g_launches.load()); }

void capture_begun() { g_captures.fetch_add(1); }
void capture_ended() { g_captures.fetch_sub(1); }

void spend(double ms) {
  double before = g_spent_ms.load();
  while (!g_spent_ms.compare_exchange_weak(before, before + ms)) {
  }
}

}  // namespace emulated

EXPORT uint64_t planner_device_launches() { return g_launches.load(std::memory_order_relaxed); }

// For the generated stubs, which are C.
EXPORT void planner_device_launched() {
  launched();
  contents::launched();
}

EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags,
                                                int priority) {
  auto* object = new Stream();
  object->device = current_device();
  object->priority = priority;
  object->flags = flags;
  *stream = reinterpret_cast<cudaStream_t>(object);
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
EXPORT cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, 0, 0);
}
EXPORT cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  arrivals::forget(stream);
  delete stream_object(stream);
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  waited();
  return arrivals::synchronize(stream);
}
EXPORT cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (arrivals::query(stream) != cudaSuccess) return cudaErrorNotReady;
  waited();  // "done" is the answer, and the caller goes on with it
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  arrivals::wait(stream, event);
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  const Stream* object = stream_object(stream);
  *priority = object ? object->priority : 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  const Stream* object = stream_object(stream);
  *flags = object ? object->flags : 0;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  const Stream* object = stream_object(stream);
  *device = object ? object->device : current_device();
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  *id = static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(stream));
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback,
                                         void* data, unsigned) {
  callback(stream, cudaSuccess, data);
  return cudaSuccess;
}
EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  const Stream* object = stream_object(stream);
  if (!object || !object->capturing) function(data);
  return cudaSuccess;
}

EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event());
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}
EXPORT cudaError_t cudaEventDestroy(cudaEvent_t event) {
  arrivals::forget(event);
  delete event_object(event);
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event) {
    event_object(event)->recorded_ms = now_ms() + g_spent_ms.load();
    event_object(event)->launches = g_launches.load();
    arrivals::record(event, stream);
  }
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
EXPORT cudaError_t cudaEventQuery(cudaEvent_t event) {
  Event* object = event_object(event);
  if (!object) return cudaSuccess;
  const void* caller = __builtin_return_address(0);
  if (arrivals::query(event) != cudaSuccess && caller_of(caller) != Caller::kAllocator)
    return cudaErrorNotReady;
  if (is_reached(*object)) return cudaSuccess;
  switch (caller_of(caller)) {
    case Caller::kTorch:
      return cudaSuccess;
    case Caller::kAllocator:
      if (!is_waited_out(*object)) {
        note("events-pending");
        return cudaErrorNotReady;
      }
      [[fallthrough]];
    case Caller::kOther:
      waited_for(object->launches);
  }
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (!event) return cudaSuccess;
  waited_for(event_object(event)->launches);
  return arrivals::synchronize(event);
}
EXPORT cudaError_t cudaEventElapsedTime(float* elapsed_ms, cudaEvent_t start, cudaEvent_t end) {
  // Never zero: user code divides by it.
  *elapsed_ms = static_cast<float>(
      std::max(1e-3, event_object(end)->recorded_ms - event_object(start)->recorded_ms));
  return cudaSuccess;
}
