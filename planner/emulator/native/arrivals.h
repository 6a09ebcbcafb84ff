// Which contents from other ranks a stream or an event waits for. The emulated card is always done,
// but what another process has not sent yet is not there.
#pragma once

#include <cuda_runtime_api.h>

#include "contents.h"

namespace emulated::arrivals {

// Work was queued on the stream that ends when the content has come.
void add(cudaStream_t stream, const ContentPointer& content);

void record(cudaEvent_t event, cudaStream_t stream);
void wait(cudaStream_t stream, cudaEvent_t event);
void forget(const void* stream_or_event);

// cudaSuccess, or cudaErrorNotReady while something is on its way.
cudaError_t query(const void* stream_or_event);
// Waits for all of it. cudaErrorExternalDevice if something never comes; it is said once.
cudaError_t synchronize(const void* stream_or_event);
cudaError_t synchronize_all();

}  // namespace emulated::arrivals
