// cuDNN's recurrent nets (v8 API): descriptors, the packed weight layout, and a model of the sizes.
//
// The layout follows the documentation of cudnnGetRNNWeightParams: per pseudo-layer (a layer times
// a direction) the input matrices of all gates, then the recurrent matrices, then the projection;
// after the last pseudo-layer all biases. What cuDNN asks for as workspace and reserve space cannot
// be learned without a device and is estimated.
#include <cudnn.h>

#include <cstdint>

#include "cudnn_data_type.h"
#include "device.h"

using namespace emulated;

namespace {

struct Rnn {
  cudnnRNNMode_t mode;
  cudnnRNNBiasMode_t bias;
  cudnnDirectionMode_t direction;
  cudnnDataType_t type;
  int64_t input_size;
  int64_t hidden_size;
  int64_t projected_size;  // equals hidden_size where there is no projection
  int64_t layers;

  int64_t gates() const { return mode == CUDNN_LSTM ? 4 : mode == CUDNN_GRU ? 3 : 1; }
  int64_t directions() const { return direction == CUDNN_BIDIRECTIONAL ? 2 : 1; }
  int64_t pseudo_layers() const { return layers * directions(); }
  int64_t biases() const {
    return bias == CUDNN_RNN_NO_BIAS ? 0 : bias == CUDNN_RNN_DOUBLE_BIAS ? 2 : 1;
  }
  bool projects() const { return projected_size != hidden_size; }
  int64_t layer_input_size(int64_t pseudo_layer) const {
    return pseudo_layer < directions() ? input_size : projected_size * directions();
  }
  // Elements of the matrices of one pseudo-layer.
  int64_t matrices(int64_t pseudo_layer) const {
    const int64_t projection = projects() ? projected_size * hidden_size : 0;
    return gates() * hidden_size * (layer_input_size(pseudo_layer) + projected_size) + projection;
  }
  // Elements of the matrices of the first `count` pseudo-layers.
  int64_t matrices_before(int64_t count) const {
    int64_t elements = 0;
    for (int64_t i = 0; i < count; i++) elements += matrices(i);
    return elements;
  }
};

struct Sequence {
  cudnnDataType_t type;
  int64_t longest;
  int64_t batch;
};

// A block of the weight buffer; rows 0 where the layer has none.
struct Block {
  int64_t offset = 0;
  int64_t rows = 0;
  int64_t columns = 0;
};

Rnn* rnn(cudnnRNNDescriptor_t descriptor) { return reinterpret_cast<Rnn*>(descriptor); }

// The matrix of one gate: `linear` counts the input matrices, the recurrent ones, the projection.
Block matrix(const Rnn& net, int64_t pseudo_layer, int64_t linear) {
  const int64_t gates = net.gates();
  const int64_t inputs = net.layer_input_size(pseudo_layer);
  Block block{net.matrices_before(pseudo_layer), net.hidden_size, inputs};
  if (linear < gates) {
    block.offset += linear * net.hidden_size * inputs;
    return block;
  }
  block.offset += gates * net.hidden_size * inputs;
  if (linear < 2 * gates) {
    block.offset += (linear - gates) * net.hidden_size * net.projected_size;
    block.columns = net.projected_size;
    return block;
  }
  if (!net.projects()) return Block{};
  block.offset += gates * net.hidden_size * net.projected_size;
  block.rows = net.projected_size;
  block.columns = net.hidden_size;
  return block;
}

Block bias(const Rnn& net, int64_t pseudo_layer, int64_t linear) {
  if (linear >= net.gates() * net.biases()) return Block{};
  const int64_t index = pseudo_layer * net.gates() * net.biases() + linear;
  return Block{net.matrices_before(net.pseudo_layers()) + index * net.hidden_size, net.hidden_size,
               1};
}

// Describes the block as cuDNN does (rank 3, or rank 0 where there is none) and points to it.
cudnnStatus_t tell(const Rnn& net, const Block& block, const void* weights,
                   cudnnTensorDescriptor_t descriptor, void** address) {
  const int rank = block.rows ? 3 : 0;
  const int dimensions[] = {1, static_cast<int>(block.rows), static_cast<int>(block.columns)};
  const int strides[] = {static_cast<int>(block.rows * block.columns),
                         static_cast<int>(block.columns), 1};
  if (address) {
    const auto begin = reinterpret_cast<uintptr_t>(weights);
    const auto offset = static_cast<size_t>(block.offset) * cudnn::element_bytes(net.type);
    *address = block.rows ? reinterpret_cast<void*>(begin + offset) : nullptr;
  }
  if (!descriptor) return CUDNN_STATUS_SUCCESS;
  return cudnnSetTensorNdDescriptor(descriptor, net.type, rank, dimensions, strides);
}

}  // namespace

EXPORT cudnnStatus_t cudnnCreateRNNDescriptor(cudnnRNNDescriptor_t* descriptor) {
  *descriptor = reinterpret_cast<cudnnRNNDescriptor_t>(new Rnn());
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnDestroyRNNDescriptor(cudnnRNNDescriptor_t descriptor) {
  delete rnn(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSetRNNDescriptor_v8(cudnnRNNDescriptor_t descriptor, cudnnRNNAlgo_t,
                                              cudnnRNNMode_t mode, cudnnRNNBiasMode_t bias,
                                              cudnnDirectionMode_t direction, cudnnRNNInputMode_t,
                                              cudnnDataType_t type, cudnnDataType_t,
                                              cudnnMathType_t, int32_t input_size,
                                              int32_t hidden_size, int32_t projected_size,
                                              int32_t layers, cudnnDropoutDescriptor_t, uint32_t) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  const int32_t outputs = projected_size ? projected_size : hidden_size;
  *rnn(descriptor) = Rnn{mode, bias, direction, type, input_size, hidden_size, outputs, layers};
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnCreateRNNDataDescriptor(cudnnRNNDataDescriptor_t* descriptor) {
  *descriptor = reinterpret_cast<cudnnRNNDataDescriptor_t>(new Sequence());
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnDestroyRNNDataDescriptor(cudnnRNNDataDescriptor_t descriptor) {
  delete reinterpret_cast<Sequence*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSetRNNDataDescriptor(cudnnRNNDataDescriptor_t descriptor,
                                               cudnnDataType_t type, cudnnRNNDataLayout_t,
                                               int longest, int batch, int, const int*, void*) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  *reinterpret_cast<Sequence*>(descriptor) = Sequence{type, longest, batch};
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnGetRNNWeightSpaceSize(cudnnHandle_t, cudnnRNNDescriptor_t descriptor,
                                                size_t* bytes) {
  if (!descriptor || !bytes) return CUDNN_STATUS_BAD_PARAM;
  const Rnn& net = *rnn(descriptor);
  const int64_t biases = net.pseudo_layers() * net.biases() * net.gates() * net.hidden_size;
  const int64_t elements = net.matrices_before(net.pseudo_layers()) + biases;
  *bytes = static_cast<size_t>(elements) * cudnn::element_bytes(net.type);
  return CUDNN_STATUS_SUCCESS;
}

// PyTorch asks for the matrix and the bias in separate calls, with null for the other.
EXPORT cudnnStatus_t cudnnGetRNNWeightParams(
    cudnnHandle_t, cudnnRNNDescriptor_t descriptor, int32_t pseudo_layer, size_t,
    const void* weights, int32_t linear, cudnnTensorDescriptor_t matrix_descriptor,
    void** matrix_address, cudnnTensorDescriptor_t bias_descriptor, void** bias_address) {
  if (!descriptor || pseudo_layer < 0 || linear < 0) return CUDNN_STATUS_BAD_PARAM;
  const Rnn& net = *rnn(descriptor);
  if (pseudo_layer >= net.pseudo_layers()) return CUDNN_STATUS_BAD_PARAM;
  const cudnnStatus_t status =
      tell(net, matrix(net, pseudo_layer, linear), weights, matrix_descriptor, matrix_address);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  return tell(net, bias(net, pseudo_layer, linear), weights, bias_descriptor, bias_address);
}

// A model. Workspace: the gates of all time steps of one layer, and 1 MiB. Reserve space, kept for
// the backward pass: gates, cell and output of every layer and time step.
EXPORT cudnnStatus_t cudnnGetRNNTempSpaceSizes(cudnnHandle_t, cudnnRNNDescriptor_t descriptor,
                                               cudnnForwardMode_t mode,
                                               cudnnRNNDataDescriptor_t data,
                                               size_t* workspace_bytes, size_t* reserve_bytes) {
  if (!descriptor || !data) return CUDNN_STATUS_BAD_PARAM;
  note("cudnn-rnn-model");
  const Rnn& net = *rnn(descriptor);
  const Sequence& sequence = *reinterpret_cast<Sequence*>(data);
  const auto step_bytes =
      static_cast<size_t>(sequence.longest * sequence.batch * net.directions() * net.hidden_size) *
      cudnn::element_bytes(net.type);
  const auto gates = static_cast<size_t>(net.gates());
  if (workspace_bytes) *workspace_bytes = step_bytes * gates + MiB;
  if (reserve_bytes) {
    const bool training = mode == CUDNN_FWD_MODE_TRAINING;
    *reserve_bytes = training ? step_bytes * static_cast<size_t>(net.layers) * (gates + 2) : 0;
  }
  return CUDNN_STATUS_SUCCESS;
}
