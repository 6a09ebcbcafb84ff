// Streams as objects: nothing runs on them; how far the card is behind the host is counted.
#pragma once

#include <cuda_runtime_api.h>

namespace emulated {

struct Stream {
  int device = 0;
  int priority = 0;
  unsigned flags = 0;
  bool capturing = false;
  unsigned long long capture_id = 0;
};

// null for the default streams, which are small integers rather than objects.
Stream* stream_object(cudaStream_t stream);

// Work that takes `ms` has been queued: events recorded from now on are later by so much.
void spend(double ms);

// An operation has been queued: a kernel, a call of a library, a copy or a fill of the card. Those
// that a capture of a CUDA graph records are not counted.
void launched();
// The host has waited for all that was queued.
void waited();
// A capture of a CUDA graph begins or ends.
void capture_begun();
void capture_ended();

}  // namespace emulated
