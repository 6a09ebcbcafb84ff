// Copies and fills. Nothing is stored on the device: what is read back from it is zero, and each
// such read is told to the planner, because a zero may steer the model another way.
#include <atomic>
#include <cstring>

#include "device.h"
#include "memory.h"
#include "status.h"

using namespace emulated;

namespace {

using ReadCallback = void (*)(size_t bytes);
std::atomic<ReadCallback> g_on_read{nullptr};

void copy(void* destination, const void* source, size_t bytes) {
  if (bytes == 0 || on_device(destination)) return;
  if (!on_device(source)) {
    memmove(destination, source, bytes);
    return;
  }
  memset(destination, 0, bytes);
  if (ReadCallback callback = g_on_read.load()) callback(bytes);
}

cudaError_t copy_2d(void* destination, size_t destination_pitch, const void* source,
                    size_t source_pitch, size_t width, size_t height) {
  for (size_t row = 0; row < height; row++) {
    copy(static_cast<char*>(destination) + row * destination_pitch,
         static_cast<const char*>(source) + row * source_pitch, width);
  }
  return cudaSuccess;
}

cudaError_t fill(void* destination, int value, size_t bytes) {
  if (!on_device(destination)) memset(destination, value, bytes);
  return cudaSuccess;
}

}  // namespace

// Called for every copy from the device to the host; null switches it off.
EXPORT void planner_device_on_read(ReadCallback callback) { g_on_read.store(callback); }

EXPORT cudaError_t cudaMemcpy(void* destination, const void* source, size_t bytes, enum cudaMemcpyKind) {
  copy(destination, source, bytes);
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyAsync(void* destination, const void* source, size_t bytes,
                                   enum cudaMemcpyKind, cudaStream_t) {
  copy(destination, source, bytes);
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpy2D(void* destination, size_t destination_pitch, const void* source,
                                size_t source_pitch, size_t width, size_t height, enum cudaMemcpyKind) {
  return copy_2d(destination, destination_pitch, source, source_pitch, width, height);
}
EXPORT cudaError_t cudaMemcpy2DAsync(void* destination, size_t destination_pitch, const void* source,
                                     size_t source_pitch, size_t width, size_t height,
                                     enum cudaMemcpyKind, cudaStream_t) {
  return copy_2d(destination, destination_pitch, source, source_pitch, width, height);
}
EXPORT cudaError_t cudaMemcpyPeer(void* destination, int, const void* source, int, size_t bytes) {
  copy(destination, source, bytes);
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyPeerAsync(void* destination, int, const void* source, int, size_t bytes,
                                       cudaStream_t) {
  copy(destination, source, bytes);
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemset(void* destination, int value, size_t bytes) {
  return fill(destination, value, bytes);
}
EXPORT cudaError_t cudaMemsetAsync(void* destination, int value, size_t bytes, cudaStream_t) {
  return fill(destination, value, bytes);
}

EXPORT cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, enum cudaMemcpyKind) {
  return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyToSymbolAsync(const void*, const void*, size_t, size_t, enum cudaMemcpyKind,
                                           cudaStream_t) {
  return cudaSuccess;
}
EXPORT cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  *pointer = const_cast<void*>(symbol);
  return cudaSuccess;
}

EXPORT cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t*, void*) { return report(cudaErrorNotSupported); }
EXPORT cudaError_t cudaIpcOpenMemHandle(void**, cudaIpcMemHandle_t, unsigned) {
  return report(cudaErrorNotSupported);
}
EXPORT cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t*, cudaEvent_t) {
  return report(cudaErrorNotSupported);
}
EXPORT cudaError_t cudaIpcOpenEventHandle(cudaEvent_t*, cudaIpcEventHandle_t) {
  return report(cudaErrorNotSupported);
}
