// Streams as objects: nothing runs on them, so they are always idle.
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

}  // namespace emulated
