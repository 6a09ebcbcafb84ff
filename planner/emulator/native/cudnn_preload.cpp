// Loads cuDNN ahead of its first use, so that processes forked later share the work.
#include <cudnn.h>

#include <vector>

#include "cudnn_bridge.h"
#include "device.h"

using namespace emulated;

namespace {

using Descriptor = cudnnBackendDescriptor_t;

// Descriptors of one small graph; destroyed with it, newest first.
class Graph {
 public:
  ~Graph() {
    while (!made_.empty()) {
      cudnnBackendDestroyDescriptor(made_.back());
      made_.pop_back();
    }
  }

  Descriptor make(cudnnBackendDescriptorType_t type) {
    Descriptor descriptor = nullptr;
    if (cudnnBackendCreateDescriptor(type, &descriptor) != CUDNN_STATUS_SUCCESS) return nullptr;
    made_.push_back(descriptor);
    return descriptor;
  }

 private:
  std::vector<Descriptor> made_;
};

template <typename Value>
void set(Descriptor descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
         const Value* values, int64_t count = 1) {
  cudnnBackendSetAttribute(descriptor, name, type, count, values);
}

void link(Descriptor descriptor, cudnnBackendAttributeName_t name, Descriptor value) {
  set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, &value);
}

Descriptor tensor(Graph& graph, int64_t id, const std::vector<int64_t>& dimensions) {
  const std::vector<int64_t> strides = {dimensions[1] * dimensions[2] * dimensions[3],
                                        dimensions[2] * dimensions[3], dimensions[3], 1};
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const int64_t alignment = 16;
  Descriptor made = graph.make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  set(made, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, &type);
  set(made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, dimensions.data(), 4);
  set(made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides.data(), 4);
  set(made, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, &id);
  set(made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, &alignment);
  cudnnBackendFinalize(made);
  return made;
}

// A 3x3 convolution with padding 1.
Descriptor convolution(Graph& graph) {
  const int64_t spatial = 2;
  const int64_t ones[] = {1, 1};
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  Descriptor made = graph.make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  set(made, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, &spatial);
  set(made, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, &type);
  set(made, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, &mode);
  for (auto name : {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS,
                    CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES}) {
    set(made, name, CUDNN_TYPE_INT64, ones, 2);
  }
  cudnnBackendFinalize(made);
  return made;
}

Descriptor operation_graph(Graph& graph) {
  const float alpha = 1;
  const float beta = 0;
  Descriptor operation = graph.make(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  link(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, tensor(graph, 1, {2, 8, 16, 16}));
  link(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, tensor(graph, 2, {8, 8, 3, 3}));
  link(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, tensor(graph, 3, {2, 8, 16, 16}));
  link(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution(graph));
  set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, &alpha);
  set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, &beta);
  cudnnBackendFinalize(operation);
  Descriptor made = graph.make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  link(made, CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  cudnnBackendFinalize(made);
  return made;
}

// Asks for one plan and throws it away: this loads cuDNN's engine and heuristics libraries.
void build_one_plan() {
  Graph graph;
  const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_INSTANT;
  Descriptor heuristics = graph.make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  link(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operation_graph(graph));
  set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &mode);
  cudnnBackendFinalize(heuristics);
  Descriptor chosen = graph.make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  int64_t found = 0;
  cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                           1, &found, &chosen);
  Descriptor plan = graph.make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  link(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, chosen);
  cudnnBackendFinalize(plan);
}

}  // namespace

// Loads the library that the profile names and lets it build a plan, for whatever card the profile
// has at the moment; a card set later gets a description of its own. Returns 1 where plans will
// come from the library, 0 where the model answers.
EXPORT int planner_cudnn_preload() {
  if (!cudnn::bridge::available()) return 0;
  build_one_plan();
  return 1;
}
