// Streams and events. Work is complete as soon as it is queued; an event remembers host time, and the
// time that work would have taken where that is told (see spend).
#include "streams.h"

#include <algorithm>
#include <atomic>

#include <time.h>

#include "device.h"
#include "status.h"

using namespace emulated;

namespace {

struct Event {
  double recorded_ms = 0;
};

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

void spend(double ms) {
  double before = g_spent_ms.load();
  while (!g_spent_ms.compare_exchange_weak(before, before + ms)) {
  }
}

}  // namespace emulated

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
  delete stream_object(stream);
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
EXPORT cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
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
  delete event_object(event);
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  if (event) event_object(event)->recorded_ms = now_ms() + g_spent_ms.load();
  return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
EXPORT cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
EXPORT cudaError_t cudaEventElapsedTime(float* elapsed_ms, cudaEvent_t start, cudaEvent_t end) {
  // Never zero: user code divides by it.
  *elapsed_ms = static_cast<float>(
      std::max(1e-3, event_object(end)->recorded_ms - event_object(start)->recorded_ms));
  return cudaSuccess;
}
