// Driver API: modules, functions and launches, as Triton and run-time compiled kernels use them.
#include <cstdlib>
#include <cstring>

#include <cuda.h>

#include "device.h"
#include "kernels.h"
#include "streams.h"

using namespace emulated;

namespace {

template <typename Handle>
CUresult create(Handle* handle) {
  *handle = static_cast<Handle>(calloc(1, 64));
  return CUDA_SUCCESS;
}

}  // namespace

EXPORT CUresult cuModuleLoad(CUmodule* module, const char*) { return create(module); }
EXPORT CUresult cuModuleLoadData(CUmodule* module, const void*) { return create(module); }
EXPORT CUresult cuModuleLoadDataEx(CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
  return create(module);
}
EXPORT CUresult cuModuleUnload(CUmodule module) {
  free(module);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  *function = reinterpret_cast<CUfunction>(strdup(name));
  return CUDA_SUCCESS;
}
EXPORT CUresult cuModuleGetGlobal(CUdeviceptr* pointer, size_t* bytes, CUmodule, const char*) {
  static auto* variable = calloc(1, 4096);
  if (pointer) *pointer = reinterpret_cast<CUdeviceptr>(variable);
  if (bytes) *bytes = 4096;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = 1024;
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = 32;
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = profile().binary_version;
      break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(profile().shared_per_block_optin_bytes);
      break;
    default:
      *value = 0;
  }
  return CUDA_SUCCESS;
}
EXPORT CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
EXPORT CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned, unsigned, unsigned, unsigned,
                               unsigned, unsigned, unsigned, CUstream, void**, void**) {
  on_launch(function);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig*, CUfunction function, void**, void**) {
  on_launch(function);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned, unsigned, unsigned,
                                          unsigned, unsigned, unsigned, unsigned, CUstream,
                                          void**) {
  on_launch(function);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int threads,
                                                            size_t) {
  *blocks = resident_blocks(threads);
  return CUDA_SUCCESS;
}
EXPORT CUresult cuOccupancyMaxActiveClusters(int* clusters, CUfunction, const CUlaunchConfig*) {
  *clusters = 16;
  return CUDA_SUCCESS;
}

EXPORT CUresult cuLinkCreate(unsigned, CUjit_option*, void**, CUlinkState* state) {
  return create(state);
}
EXPORT CUresult cuLinkComplete(CUlinkState, void** cubin, size_t* bytes) {
  static char empty[16];
  if (cubin) *cubin = empty;
  if (bytes) *bytes = sizeof empty;
  return CUDA_SUCCESS;
}
EXPORT CUresult cuTensorMapEncodeTiled(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
                                       const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                                       const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                       CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamWriteValue32(CUstream, CUdeviceptr, cuuint32_t, unsigned) {
  return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamSynchronize(CUstream) {
  waited();
  return CUDA_SUCCESS;
}

// cuda.h renames the function; torch up to 2.6 looks it up under the plain name.
#ifdef cuStreamWriteValue32
#undef cuStreamWriteValue32
EXPORT CUresult cuStreamWriteValue32(CUstream, CUdeviceptr, cuuint32_t, unsigned) {
  return CUDA_SUCCESS;
}
#endif
