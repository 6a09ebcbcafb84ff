// What the model keeps of a cuDNN graph descriptor; see cudnn_node.h.
#include "cudnn_node.h"

#include <cstring>

namespace emulated::cudnn::model {

const Attribute* Node::find(int name) const {
  const auto found = attributes.find(name);
  return found == attributes.end() ? nullptr : &found->second;
}

NodePointer Node::child(int name) const {
  const Attribute* attribute = find(name);
  return attribute && !attribute->nodes.empty() ? attribute->nodes.front() : nullptr;
}

std::vector<int64_t> Node::integers(int name) const {
  const Attribute* attribute = find(name);
  if (!attribute || attribute->type != CUDNN_TYPE_INT64) return {};
  std::vector<int64_t> values(attribute->bytes.size() / sizeof(int64_t));
  if (!values.empty()) {
    memcpy(values.data(), attribute->bytes.data(), values.size() * sizeof(int64_t));
  }
  return values;
}

size_t attribute_bytes(int type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    case CUDNN_TYPE_FRACTION:
      return sizeof(cudnnFraction_t);
    default:
      return 4;  // FLOAT, INT32 and the enums
  }
}

}  // namespace emulated::cudnn::model
