// CUDA graphs: a capture records nothing and a launch runs nothing; PyTorch's private memory
// pools of a capture, which decide its memory, work as on a card.
#include <atomic>
#include <utility>

#include "contents.h"
#include "device.h"
#include "status.h"
#include "streams.h"

using namespace emulated;

namespace {

// Distinct objects, so that every handle can be destroyed on its own.
struct Graph {
  int nodes = 1;
};

std::atomic<unsigned long long> g_next_capture{1};

cudaError_t capture_info(cudaStream_t stream, enum cudaStreamCaptureStatus* status,
                         unsigned long long* id, cudaGraph_t* graph) {
  static auto* current = new Graph();
  const Stream* object = stream_object(stream);
  *status =
      object && object->capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  if (id) *id = object ? object->capture_id : 0;
  if (graph) *graph = reinterpret_cast<cudaGraph_t>(current);
  return cudaSuccess;
}

}  // namespace

EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t stream,
                                         enum cudaStreamCaptureStatus* status) {
  return capture_info(stream, status, nullptr, nullptr);
}

EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode) {
  Stream* object = stream_object(stream);
  if (!object) return report(cudaErrorInvalidValue);
  if (!object->capturing) capture_begun();
  object->capturing = true;
  object->capture_id = g_next_capture++;
  return cudaSuccess;
}
EXPORT cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t,
                                                 const cudaGraphNode_t*, const cudaGraphEdgeData*,
                                                 size_t, enum cudaStreamCaptureMode mode) {
  return cudaStreamBeginCapture(stream, mode);
}
EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Stream* object = stream_object(stream);
  if (object && object->capturing) {
    object->capturing = false;
    capture_ended();
  }
  if (graph) *graph = reinterpret_cast<cudaGraph_t>(new Graph());
  return cudaSuccess;
}

#if CUDART_VERSION >= 13000
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream,
                                            enum cudaStreamCaptureStatus* status,
                                            unsigned long long* id, cudaGraph_t* graph,
                                            const cudaGraphNode_t** dependencies,
                                            const cudaGraphEdgeData** edges, size_t* count) {
  if (dependencies) *dependencies = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return capture_info(stream, status, id, graph);
}
#else
#undef cudaStreamGetCaptureInfo
#undef cudaStreamGetCaptureInfo_v2
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream,
                                            enum cudaStreamCaptureStatus* status,
                                            unsigned long long* id) {
  return capture_info(stream, status, id, nullptr);
}
EXPORT cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t stream,
                                               enum cudaStreamCaptureStatus* status,
                                               unsigned long long* id, cudaGraph_t* graph,
                                               const cudaGraphNode_t** dependencies,
                                               size_t* count) {
  if (dependencies) *dependencies = nullptr;
  if (count) *count = 0;
  return capture_info(stream, status, id, graph);
}
#endif

EXPORT cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode* mode) {
  static thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(*mode, current);
  return cudaSuccess;
}

EXPORT cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t,
                                        unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph());
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                                 unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}
EXPORT cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t* nodes, size_t* count) {
  // One node: PyTorch warns about graphs that captured nothing.
  if (!nodes)
    *count = 1;
  else if (*count)
    nodes[0] = reinterpret_cast<cudaGraphNode_t>(0x1);
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  launched();
  contents::launched();
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return cudaSuccess;
}
EXPORT cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete reinterpret_cast<Graph*>(executable);
  return cudaSuccess;
}
EXPORT cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void*, cudaHostFn_t, unsigned,
                                        unsigned) {
  *object = reinterpret_cast<cudaUserObject_t>(new Graph());
  return cudaSuccess;
}
