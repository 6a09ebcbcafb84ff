// Kernels: registered by the libraries, launched, and not run. The kernels of fused attention are
// noted by name, because which of them runs decides the memory of a transformer.
#include "kernels.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include <cuda_runtime_api.h>

#include "contents.h"
#include "device.h"
#include "status.h"
#include "streams.h"

using namespace emulated;

namespace {

struct LaunchConfiguration {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};

std::vector<LaunchConfiguration>& pending_launches() {
  static thread_local auto* stack = new std::vector<LaunchConfiguration>();
  return *stack;
}

std::unordered_map<const void*, const char*>& noted_kernels() {
  static auto* map = new std::unordered_map<const void*, const char*>();
  return *map;
}

std::mutex& registration_mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

const char* attention_note(const char* kernel_name) {
  if (strstr(kernel_name, "flash_fwd")) return "attention-flash";
  if (strstr(kernel_name, "fmha_cutlassF")) return "attention-efficient";
  return nullptr;
}

}  // namespace

namespace emulated {

void on_launch(const void* function) {
  launched();
  contents::launched();
  // Read without the lock: registration ends when the library is loaded, before any launch of it.
  const auto& noted = noted_kernels();
  auto it = noted.find(function);
  if (it != noted.end()) note(it->second);
}

int resident_blocks(int threads) {
  const Profile& p = profile();
  if (threads <= 0) threads = 1;
  if (threads > 1024) return 0;
  return std::max(1, std::min(p.threads_per_sm / threads, p.blocks_per_sm));
}

}  // namespace emulated

// Registration hooks that nvcc's host code calls when a library is loaded.
EXPORT void** __cudaRegisterFatBinary(void*) {
  static void* slot[1];
  return slot;
}
EXPORT void __cudaRegisterFatBinaryEnd(void**) {}
EXPORT void __cudaUnregisterFatBinary(void**) {}
EXPORT char __cudaInitModule(void**) { return 1; }
EXPORT void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
EXPORT void __cudaRegisterManagedVar(void**, void**, char*, const char*, int, size_t, int, int) {}
EXPORT void __cudaRegisterTexture(void**, const void*, const void**, const char*, int, int, int) {}
EXPORT void __cudaRegisterSurface(void**, const void*, const void**, const char*, int, int) {}
EXPORT void __cudaRegisterFunction(void**, const char* host_function, char*, const char* name, int,
                                   void*, void*, void*, void*, int*) {
  const char* key = name ? attention_note(name) : nullptr;
  if (!key) return;
  std::lock_guard<std::mutex> lock(registration_mutex());
  noted_kernels()[host_function] = key;
}

EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes,
                                            struct CUstream_st* stream) {
  pending_launches().push_back({grid, block, shared_bytes, stream});
  return 0;
}
EXPORT cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes,
                                              void* stream) {
  auto& stack = pending_launches();
  if (stack.empty()) return report(cudaErrorUnknown);
  *grid = stack.back().grid;
  *block = stack.back().block;
  *shared_bytes = stack.back().shared_bytes;
  *static_cast<cudaStream_t*>(stream) = stack.back().stream;
  stack.pop_back();
  return cudaSuccess;
}

EXPORT cudaError_t cudaLaunchKernel(const void* function, dim3, dim3, void**, size_t,
                                    cudaStream_t) {
  on_launch(function);
  return cudaSuccess;
}
EXPORT cudaError_t __cudaLaunchKernel(void* kernel, dim3, dim3, void**, size_t, cudaStream_t) {
  on_launch(kernel);
  return cudaSuccess;
}
EXPORT cudaError_t __cudaGetKernel(void** kernel, const void* function) {
  *kernel = const_cast<void*>(function);
  return cudaSuccess;
}
EXPORT cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3, dim3, void**, size_t,
                                               cudaStream_t) {
  on_launch(function);
  return cudaSuccess;
}
EXPORT cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t*, const void* function, void**) {
  on_launch(function);
  return cudaSuccess;
}

EXPORT cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  memset(attributes, 0, sizeof *attributes);
  attributes->maxThreadsPerBlock = 1024;
  attributes->numRegs = 32;
  attributes->ptxVersion = attributes->binaryVersion = profile().binary_version;
  attributes->maxDynamicSharedSizeBytes = 48 << 10;
  attributes->preferredShmemCarveout = -1;
  return cudaSuccess;
}
EXPORT cudaError_t cudaFuncSetAttribute(const void*, enum cudaFuncAttribute, int) {
  return cudaSuccess;
}
EXPORT cudaError_t cudaFuncSetCacheConfig(const void*, enum cudaFuncCache) { return cudaSuccess; }

EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*,
                                                                 int threads, size_t) {
  *blocks = resident_blocks(threads);
  return cudaSuccess;
}
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*,
                                                                          int threads, size_t,
                                                                          unsigned) {
  *blocks = resident_blocks(threads);
  return cudaSuccess;
}
EXPORT cudaError_t cudaOccupancyMaxPotentialBlockSize(int* grid, int* block, const void*, size_t,
                                                      int) {
  *block = 1024;
  *grid = profile().multiprocessors * resident_blocks(1024);
  return cudaSuccess;
}

#if CUDART_VERSION >= 12080
EXPORT cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void*, enum cudaJitOption*,
                                       void**, unsigned, enum cudaLibraryOption*, void**,
                                       unsigned) {
  *library = static_cast<cudaLibrary_t>(calloc(1, 64));
  return cudaSuccess;
}
EXPORT cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t, const char* name) {
  *kernel = reinterpret_cast<cudaKernel_t>(strdup(name));
  return cudaSuccess;
}
EXPORT cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  free(library);
  return cudaSuccess;
}
#endif
