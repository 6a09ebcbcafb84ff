// cuDNN's graph API without cuDNN: descriptors keep their attributes, the heuristics give one
// engine configuration, and a plan's workspace is estimated from its operation and tensors.
#pragma once

#include <cudnn.h>

namespace emulated::cudnn::model {

cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor);
cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor);
cudnnStatus_t set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void* values);
cudnnStatus_t get(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t requested, int64_t* count,
                  void* values);

}  // namespace emulated::cudnn::model
