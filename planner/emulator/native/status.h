// The calling thread's current device and last error, shared by the runtime's parts.
#pragma once

#include <cuda_runtime_api.h>

namespace emulated {

int& current_device();

// Remembers a failure as cudaGetLastError() will report it, and passes it through.
cudaError_t report(cudaError_t error);

bool valid_device(int device);

}  // namespace emulated
