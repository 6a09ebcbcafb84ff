// cuDNN's handles, versions and error texts, the legacy tensor and filter descriptors that PyTorch
// uses for recurrent nets and batch norm, and the sizes of dropout states and batch-norm buffers.
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <algorithm>
#include <cstring>

#include "cudnn_bridge.h"
#include "cudnn_library.h"
#include "device.h"

using namespace emulated;

namespace {

struct Handle {
  cudaStream_t stream = nullptr;
};

// A tensor or a filter: PyTorch reads back what it set.
struct Shape {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  int rank = 0;
  int dimensions[CUDNN_DIM_MAX] = {};
  int strides[CUDNN_DIM_MAX] = {};
};

template <typename Descriptor>
Shape* shape(Descriptor descriptor) {
  return reinterpret_cast<Shape*>(descriptor);
}

template <typename Descriptor>
cudnnStatus_t make_shape(Descriptor* descriptor) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  *descriptor = reinterpret_cast<Descriptor>(new Shape());
  return CUDNN_STATUS_SUCCESS;
}

template <typename Descriptor>
cudnnStatus_t drop_shape(Descriptor descriptor) {
  delete shape(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

size_t version() {
  return cudnn::bridge::available() ? cudnn::library()->version() : size_t{CUDNN_VERSION};
}

const char* status_name(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_INTERNAL_ERROR:
      return "CUDNN_STATUS_INTERNAL_ERROR";
    case CUDNN_STATUS_EXECUTION_FAILED:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "CUDNN_STATUS_UNKNOWN";
  }
}

// Batch norm's buffers are not known without a device. For the plain operation (no activation
// fused), the only one PyTorch uses, the reserve buffer is taken as empty.
cudnnStatus_t no_bytes(size_t* bytes) {
  if (!bytes) return CUDNN_STATUS_BAD_PARAM;
  note("cudnn-batch-norm-model");
  *bytes = 0;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

// ---- versions and errors

EXPORT size_t cudnnGetVersion() { return version(); }

EXPORT size_t cudnnGetCudartVersion() { return CUDART_VERSION; }

EXPORT cudnnStatus_t cudnnGetProperty(libraryPropertyType type, int* value) {
  if (!value) return CUDNN_STATUS_BAD_PARAM;
  const int number = static_cast<int>(version());  // 90102 is 9.1.2
  switch (type) {
    case MAJOR_VERSION:
      *value = number / 10000;
      break;
    case MINOR_VERSION:
      *value = number / 100 % 100;
      break;
    case PATCH_LEVEL:
      *value = number % 100;
      break;
    default:
      return CUDNN_STATUS_BAD_PARAM;
  }
  return CUDNN_STATUS_SUCCESS;
}

EXPORT const char* cudnnGetErrorString(cudnnStatus_t status) {
  const cudnn::Library* real = cudnn::library();
  return real ? real->error_string(status) : status_name(status);
}

EXPORT void cudnnGetLastErrorString(char* message, size_t size) {
  if (!message || size == 0) return;
  message[0] = 0;
  if (const cudnn::Library* real = cudnn::library()) real->last_error(message, size);
}

// ---- handles

EXPORT cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (!handle) return CUDNN_STATUS_BAD_PARAM;
  *handle = reinterpret_cast<cudnnHandle_t>(new Handle());
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete reinterpret_cast<Handle*>(handle);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  if (!handle) return CUDNN_STATUS_BAD_PARAM;
  reinterpret_cast<Handle*>(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  if (!handle || !stream) return CUDNN_STATUS_BAD_PARAM;
  *stream = reinterpret_cast<Handle*>(handle)->stream;
  return CUDNN_STATUS_SUCCESS;
}

// ---- tensor and filter descriptors

EXPORT cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* descriptor) {
  return make_shape(descriptor);
}

EXPORT cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  return drop_shape(descriptor);
}

EXPORT cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* descriptor) {
  return make_shape(descriptor);
}

EXPORT cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  return drop_shape(descriptor);
}

EXPORT cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t descriptor,
                                                cudnnDataType_t type, int rank,
                                                const int* dimensions, const int* strides) {
  if (!descriptor || rank < 0 || rank > CUDNN_DIM_MAX) return CUDNN_STATUS_BAD_PARAM;
  Shape* set = shape(descriptor);
  set->type = type;
  set->rank = rank;
  std::copy_n(dimensions, rank, set->dimensions);
  std::copy_n(strides, rank, set->strides);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnGetTensorNdDescriptor(const cudnnTensorDescriptor_t descriptor,
                                                int requested, cudnnDataType_t* type, int* rank,
                                                int* dimensions, int* strides) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  const Shape* known = shape(descriptor);
  *type = known->type;
  *rank = known->rank;
  const int count = std::max(0, std::min(requested, known->rank));
  std::copy_n(known->dimensions, count, dimensions);
  std::copy_n(known->strides, count, strides);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t descriptor,
                                                cudnnDataType_t type, cudnnTensorFormat_t format,
                                                int rank, const int* dimensions) {
  if (!descriptor || rank < 0 || rank > CUDNN_DIM_MAX) return CUDNN_STATUS_BAD_PARAM;
  Shape* set = shape(descriptor);
  set->type = type;
  set->format = format;
  set->rank = rank;
  std::copy_n(dimensions, rank, set->dimensions);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnGetFilterNdDescriptor(const cudnnFilterDescriptor_t descriptor,
                                                int requested, cudnnDataType_t* type,
                                                cudnnTensorFormat_t* format, int* rank,
                                                int* dimensions) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  const Shape* known = shape(descriptor);
  *type = known->type;
  *format = known->format;
  *rank = known->rank;
  std::copy_n(known->dimensions, std::max(0, std::min(requested, known->rank)), dimensions);
  return CUDNN_STATUS_SUCCESS;
}

// ---- dropout and batch norm

// An estimate: 16 bytes of random state for every thread that the card holds at once. Taken once
// per device, and only where a recurrent net has dropout.
EXPORT cudnnStatus_t cudnnDropoutGetStatesSize(cudnnHandle_t, size_t* bytes) {
  if (!bytes) return CUDNN_STATUS_BAD_PARAM;
  const Profile& card = profile();
  *bytes = size_t{16} * static_cast<size_t>(card.multiprocessors) *
           static_cast<size_t>(card.threads_per_sm);
  return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(
    cudnnHandle_t, cudnnBatchNormMode_t, cudnnBatchNormOps_t, const cudnnTensorDescriptor_t,
    const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t,
    const cudnnActivationDescriptor_t, size_t* bytes) {
  return no_bytes(bytes);
}

EXPORT cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(
    cudnnHandle_t, cudnnBatchNormMode_t, cudnnBatchNormOps_t, const cudnnTensorDescriptor_t,
    const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t,
    const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t, const cudnnActivationDescriptor_t,
    size_t* bytes) {
  return no_bytes(bytes);
}

EXPORT cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(
    cudnnHandle_t, cudnnBatchNormMode_t, cudnnBatchNormOps_t, const cudnnActivationDescriptor_t,
    const cudnnTensorDescriptor_t, size_t* bytes) {
  return no_bytes(bytes);
}
