// cuDNN's graph API without cuDNN; see cudnn_model.h.
#include "cudnn_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "cudnn_node.h"
#include "cudnn_workspace_model.h"
#include "device.h"

namespace emulated::cudnn::model {
namespace {

// Attributes of newer headers than the oldest supported one (9.1), from cudnn_graph.h of 9.24.
constexpr int kConfigurationWorkspace = 303;     // CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE
constexpr int kConfigurationSharedMemory = 304;  // CUDNN_ATTR_ENGINECFG_SHARED_MEMORY_USED

// What a cudnnBackendDescriptor_t points to here. Several may share one node: reading a descriptor
// attribute binds the caller's descriptor to the stored node.
struct Binding {
  NodePointer node;
};

Binding* binding(cudnnBackendDescriptor_t descriptor) { return static_cast<Binding*>(descriptor); }

Attribute number(int64_t value) {
  Attribute attribute;
  attribute.type = CUDNN_TYPE_INT64;
  attribute.count = 1;
  attribute.bytes.resize(sizeof value);
  memcpy(attribute.bytes.data(), &value, sizeof value);
  return attribute;
}

Attribute reference(const NodePointer& node) {
  Attribute attribute;
  attribute.type = CUDNN_TYPE_BACKEND_DESCRIPTOR;
  attribute.count = 1;
  attribute.nodes = {node};
  return attribute;
}

// The one engine configuration that the heuristics know for an operation graph.
Attribute configuration(const Node& heuristics) {
  auto engine = std::make_shared<Node>(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  if (const Attribute* graph = heuristics.find(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)) {
    engine->attributes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = *graph;
  }
  engine->attributes[CUDNN_ATTR_ENGINE_GLOBAL_INDEX] = number(0);
  auto made = std::make_shared<Node>(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  made->attributes[CUDNN_ATTR_ENGINECFG_ENGINE] = reference(engine);
  return reference(made);
}

// The configuration's operation graph, through its engine; null where a link is missing.
NodePointer graph_of_configuration(const Node& configuration) {
  const NodePointer engine = configuration.child(CUDNN_ATTR_ENGINECFG_ENGINE);
  return engine ? engine->child(CUDNN_ATTR_ENGINE_OPERATION_GRAPH) : nullptr;
}

int64_t workspace(const NodePointer& graph) {
  note("cudnn-model");
  return graph ? static_cast<int64_t>(workspace_bytes(*graph)) : 0;
}

// Attributes that cuDNN computes; false where `name` is a stored one.
bool computed(const Node& node, int name, Attribute& attribute) {
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
      attribute = configuration(node);
      return true;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: {
      const NodePointer chosen = node.child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
      attribute = number(workspace(chosen ? graph_of_configuration(*chosen) : nullptr));
      return true;
    }
    case kConfigurationWorkspace:
      attribute = number(workspace(graph_of_configuration(node)));
      return true;
    case kConfigurationSharedMemory:
      attribute = number(0);
      return true;
    case CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT:
      attribute = number(1);
      return true;
    default:
      return false;
  }
}

void hand_out(const Attribute& attribute, cudnnBackendAttributeType_t type, int64_t requested,
              void* values) {
  const auto count = static_cast<size_t>(std::min(requested, attribute.count));
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    auto* descriptors = static_cast<cudnnBackendDescriptor_t*>(values);
    for (size_t i = 0; i < std::min(count, attribute.nodes.size()); i++) {
      if (descriptors[i]) binding(descriptors[i])->node = attribute.nodes[i];
    }
    return;
  }
  // The caller's type decides how much room it has: shared memory is read as INT32.
  memcpy(values, attribute.bytes.data(),
         std::min(attribute.bytes.size(), count * attribute_bytes(type)));
}

}  // namespace

cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  *descriptor = new Binding{std::make_shared<Node>(type)};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor) {
  delete binding(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  if (count < 0 || (count > 0 && !values)) return CUDNN_STATUS_BAD_PARAM;
  Attribute attribute;
  attribute.type = type;
  attribute.count = count;
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    const auto* descriptors = static_cast<const cudnnBackendDescriptor_t*>(values);
    for (int64_t i = 0; i < count; i++) {
      attribute.nodes.push_back(descriptors[i] ? binding(descriptors[i])->node : nullptr);
    }
  } else if (count > 0) {
    const auto* bytes = static_cast<const uint8_t*>(values);
    attribute.bytes.assign(bytes, bytes + static_cast<size_t>(count) * attribute_bytes(type));
  }
  binding(descriptor)->node->attributes[name] = std::move(attribute);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t get(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t requested, int64_t* count,
                  void* values) {
  const NodePointer node = binding(descriptor)->node;
  Attribute fresh;
  const Attribute* attribute = computed(*node, name, fresh) ? &fresh : node->find(name);
  // An attribute that was never set has no elements, as cuDNN answers for notes and knobs.
  if (count) *count = attribute ? attribute->count : 0;
  if (attribute && values && requested > 0) hand_out(*attribute, type, requested, values);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace emulated::cudnn::model
