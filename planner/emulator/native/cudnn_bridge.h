// cuDNN's own engine choice and workspaces for the emulated card.
//
// cuDNN >= 9.8 builds plans for a described device, with no handle, driver or GPU ("deviceless
// ahead-of-time compilation" in its documentation). Descriptors are the real library's; only what
// ties them to a device is replaced by the description of the emulated card.
#pragma once

#include <cudnn.h>

namespace emulated::cudnn::bridge {

// Whether plans come from the real library: it is there, new enough and takes the description of
// the current profile's card. False also where no library is asked for.
bool available();

// To be called before the descriptors of an attention graph are created.
void expect_attention();

cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor);
cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor);

// `type` is the descriptor's; the card's description is attached where cuDNN asks for a device.
cudnnStatus_t finalize(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type);

cudnnStatus_t set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void* values);
cudnnStatus_t get(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t requested, int64_t* count,
                  void* values);

}  // namespace emulated::cudnn::bridge
