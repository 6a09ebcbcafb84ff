// NVRTC: PyTorch compiles some elementwise kernels at run time; nothing is compiled here.
#include <cstdlib>

#include <cuda_runtime_api.h>
#include <nvrtc.h>

#include "device.h"

EXPORT nvrtcResult nvrtcVersion(int* major, int* minor) {
  *major = CUDART_VERSION / 1000;
  *minor = CUDART_VERSION % 1000 / 10;
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char*, const char*, int,
                                      const char* const*, const char* const*) {
  *program = static_cast<nvrtcProgram>(calloc(1, 64));
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  if (program) free(*program);
  return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcGetLoweredName(nvrtcProgram, const char* const name, const char** lowered) {
  *lowered = name;
  return NVRTC_SUCCESS;
}
EXPORT const char* nvrtcGetErrorString(nvrtcResult) { return "status of the emulated NVRTC"; }
