// Errors and the current device, both per thread as in CUDA.
#include "status.h"

#include "arrivals.h"
#include "device.h"
#include "streams.h"

namespace {

thread_local int t_device = 0;
thread_local cudaError_t t_last_error = cudaSuccess;

const char* error_name(int error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
    case cudaErrorExternalDevice:
      return "cudaErrorExternalDevice";
    default:
      return "cudaErrorUnknown";
  }
}

const char* error_text(int error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorNotSupported:
      return "operation not supported on the emulated device";
    case cudaErrorExternalDevice:
      return "another rank has ended, or means another operation";
    default:
      return "error of the emulated CUDA device";
  }
}

}  // namespace

namespace emulated {

int& current_device() { return t_device; }

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) t_last_error = error;
  return error;
}

bool valid_device(int device) { return device >= 0 && device < profile().device_count; }

}  // namespace emulated

EXPORT cudaError_t cudaGetLastError() {
  const cudaError_t error = t_last_error;
  t_last_error = cudaSuccess;
  return error;
}

EXPORT cudaError_t cudaPeekAtLastError() { return t_last_error; }
EXPORT const char* cudaGetErrorName(cudaError_t error) { return error_name(error); }
EXPORT const char* cudaGetErrorString(cudaError_t error) { return error_text(error); }

EXPORT cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated::profile().device_count;
  return cudaSuccess;
}

EXPORT cudaError_t cudaGetDevice(int* device) {
  *device = t_device;
  return cudaSuccess;
}

EXPORT cudaError_t cudaSetDevice(int device) {
  if (!emulated::valid_device(device)) return emulated::report(cudaErrorInvalidDevice);
  t_device = device;
  return cudaSuccess;
}

EXPORT cudaError_t cudaDeviceSynchronize() {
  emulated::waited();
  return emulated::arrivals::synchronize_all();
}
EXPORT cudaError_t cudaDeviceReset() { return cudaSuccess; }
EXPORT cudaError_t cudaProfilerStart() { return cudaSuccess; }
EXPORT cudaError_t cudaProfilerStop() { return cudaSuccess; }
