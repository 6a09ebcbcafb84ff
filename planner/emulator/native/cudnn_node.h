// What the model keeps of a cuDNN graph descriptor: its type and the attributes that were set.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace emulated::cudnn::model {

struct Node;
using NodePointer = std::shared_ptr<Node>;

struct Attribute {
  cudnnBackendAttributeType_t type = CUDNN_TYPE_INT64;
  int64_t count = 0;
  std::vector<uint8_t> bytes;      // the values, or
  std::vector<NodePointer> nodes;  // the descriptors of a CUDNN_TYPE_BACKEND_DESCRIPTOR attribute
};

struct Node {
  explicit Node(cudnnBackendDescriptorType_t node_type) : type(node_type) {}

  // The attribute, or null where it was never set. Names are cudnnBackendAttributeName_t.
  const Attribute* find(int name) const;

  // The first descriptor of an attribute, or null.
  NodePointer child(int name) const;

  // The values of an integer attribute; empty where it was never set.
  std::vector<int64_t> integers(int name) const;

  cudnnBackendDescriptorType_t type;
  std::map<int, Attribute> attributes;
};

// Bytes of one value of an attribute type.
size_t attribute_bytes(int type);

}  // namespace emulated::cudnn::model
