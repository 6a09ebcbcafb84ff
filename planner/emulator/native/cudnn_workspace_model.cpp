// Workspace of a cuDNN plan where the library itself cannot be asked.
//
// Read off the plans that cuDNN 9.24 builds for ResNet-50 on T4, A100, RTX 3090, H100 and B200:
// - Tensor cores want channels innermost. Operands in another layout are copied first: nearly every
//   plan on NCHW tensors asks for about the size of all three operands, and most plans on
//   channels-last tensors for nothing. TF32 engines of compute capability 8 copy either layout.
// - A channel count that is no multiple of the engine's vector is padded, in a copy.
// - A weight gradient adds up partial sums: up to 9 MiB there, whatever the batch.
// - Without tensor cores it is the channels-last operands that are copied, and the transformed
//   weights of filters larger than 1x1 are stored.
#include "cudnn_workspace_model.h"

#include <algorithm>
#include <cstring>

#include "cudnn_data_type.h"
#include "device.h"

namespace emulated::cudnn::model {
namespace {

constexpr size_t kPartialSumBytes = 9 * MiB;
constexpr size_t kVectorBytes = 16;  // what tensor-core engines read at once along the channels
constexpr size_t kTransformedWeightFactor = 4;  // Winograd: 6x6 values for a 3x3 filter

struct Tensor {
  std::vector<int64_t> dimensions;  // batch (or filters), channels, then space
  std::vector<int64_t> strides;
  int type = CUDNN_DATA_FLOAT;

  size_t elements() const {
    size_t product = 1;
    for (const int64_t dimension : dimensions) product *= static_cast<size_t>(dimension);
    return product;
  }
  size_t bytes() const { return elements() * element_bytes(type); }
  int64_t channels() const { return dimensions.size() < 2 ? 1 : dimensions[1]; }
  bool has_space() const {
    return std::any_of(dimensions.begin() + std::min<size_t>(2, dimensions.size()),
                       dimensions.end(), [](int64_t extent) { return extent > 1; });
  }
  // With one channel, or one point per channel, a tensor is in both layouts at once.
  bool in_both_layouts() const { return channels() == 1 || !has_space(); }
  bool channels_last() const { return in_both_layouts() || strides[1] == 1; }
  bool channels_first() const { return in_both_layouts() || strides[1] != 1; }
};

Tensor tensor(const Node& node) {
  Tensor made;
  made.dimensions = node.integers(CUDNN_ATTR_TENSOR_DIMENSIONS);
  made.strides = node.integers(CUDNN_ATTR_TENSOR_STRIDES);
  const Attribute* type = node.find(CUDNN_ATTR_TENSOR_DATA_TYPE);
  if (type && type->bytes.size() >= sizeof made.type) {
    memcpy(&made.type, type->bytes.data(), sizeof made.type);
  }
  return made;
}

// Every tensor that an operation reads or writes.
std::vector<Tensor> operands(const Node& operation) {
  std::vector<Tensor> found;
  for (const auto& [name, attribute] : operation.attributes) {
    for (const NodePointer& node : attribute.nodes) {
      if (node && node->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) found.push_back(tensor(*node));
    }
  }
  return found;
}

// Which attribute of a convolution holds the weights; 0 for other operations.
int weights_of(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW;
    default:
      return 0;
  }
}

bool on_tensor_cores(int type) {
  const int major = profile().major;
  switch (type) {
    case CUDNN_DATA_HALF:
      return major >= 7;
    case CUDNN_DATA_BFLOAT16:
      return major >= 8;
    case CUDNN_DATA_FLOAT:
      return major >= 8;  // as TF32, PyTorch's default for convolutions
    default:
      return false;
  }
}

// The copy that tensor cores need of one operand; 0 where it can be read as it is.
size_t tensor_core_copy_bytes(const Tensor& operand) {
  const auto channels = static_cast<size_t>(std::max<int64_t>(1, operand.channels()));
  const size_t vector = kVectorBytes / element_bytes(operand.type);
  const size_t padded = (channels + vector - 1) / vector * vector;
  // Only an image with few channels is padded; weights with one channel per group are not.
  if (padded != channels && channels > 1) return operand.bytes() / channels * padded;
  const bool copies_all = operand.type == CUDNN_DATA_FLOAT && profile().major == 8;
  return operand.channels_last() && !copies_all ? 0 : operand.bytes();
}

size_t plain_bytes(const std::vector<Tensor>& tensors, const Tensor& weights) {
  size_t bytes = weights.has_space() ? kTransformedWeightFactor * weights.bytes() : 0;
  for (const Tensor& operand : tensors) {
    if (!operand.channels_first()) bytes += operand.bytes();
  }
  return bytes;
}

size_t convolution_bytes(const Node& operation) {
  const NodePointer weights_node = operation.child(weights_of(operation.type));
  if (!weights_node) return 0;
  const Tensor weights = tensor(*weights_node);
  const std::vector<Tensor> tensors = operands(operation);
  if (!on_tensor_cores(weights.type)) return plain_bytes(tensors, weights);
  size_t bytes = 0;
  for (const Tensor& operand : tensors) bytes += tensor_core_copy_bytes(operand);
  if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR) {
    bytes += kPartialSumBytes;
  }
  return bytes;
}

// The backward pass of attention, a graph of five matrix products, adds up the gradient of the
// queries in fp32; the forward pass, of two, needs nothing.
size_t attention_bytes(const std::vector<NodePointer>& operations) {
  size_t products = 0;
  size_t largest = 0;
  for (const NodePointer& operation : operations) {
    if (operation->type != CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) continue;
    products++;
    const NodePointer result = operation->child(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    const Attribute* is_virtual = result ? result->find(CUDNN_ATTR_TENSOR_IS_VIRTUAL) : nullptr;
    const bool stored = !is_virtual || is_virtual->bytes.empty() || !is_virtual->bytes[0];
    if (result && stored) largest = std::max(largest, tensor(*result).elements());
  }
  return products > 2 ? largest * sizeof(float) : 0;
}

}  // namespace

size_t workspace_bytes(const Node& operation_graph) {
  const Attribute* attribute = operation_graph.find(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  if (!attribute) return 0;
  std::vector<NodePointer> operations;
  for (const NodePointer& node : attribute->nodes) {
    if (node) operations.push_back(node);
  }
  size_t bytes = attention_bytes(operations);
  for (const NodePointer& operation : operations) bytes += convolution_bytes(*operation);
  return bytes;
}

}  // namespace emulated::cudnn::model
