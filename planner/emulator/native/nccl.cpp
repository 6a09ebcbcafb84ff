// NCCL: communicators that agree with themselves. Collectives do nothing (generated stubs); the
// memory that NCCL takes outside PyTorch's allocator is not part of the emulated device.
#include <cstring>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "device.h"
#include "status.h"

namespace {

struct Communicator {
  int ranks, rank, device;
};

Communicator* object(ncclComm_t communicator) {
  return reinterpret_cast<Communicator*>(communicator);
}

ncclComm_t create(int ranks, int rank) {
  emulated::note("nccl");
  return reinterpret_cast<ncclComm_t>(new Communicator{ranks, rank, emulated::current_device()});
}

}  // namespace

EXPORT ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  memset(id, 7, sizeof *id);
  return ncclSuccess;
}
EXPORT const char* ncclGetErrorString(ncclResult_t) { return "status of the emulated NCCL"; }
EXPORT const char* ncclGetLastError(ncclComm_t) { return ""; }
EXPORT ncclResult_t ncclCommInitRank(ncclComm_t* communicator, int ranks, ncclUniqueId, int rank) {
  *communicator = create(ranks, rank);
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int ranks, ncclUniqueId,
                                           int rank, ncclConfig_t*) {
  *communicator = create(ranks, rank);
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommInitAll(ncclComm_t* communicators, int count, const int*) {
  for (int i = 0; i < count; i++) communicators[i] = create(count, i);
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommSplit(ncclComm_t parent, int, int, ncclComm_t* communicator,
                                  ncclConfig_t*) {
  *communicator = create(object(parent)->ranks, object(parent)->rank);
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommCount(const ncclComm_t communicator, int* ranks) {
  *ranks = object(communicator)->ranks;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommUserRank(const ncclComm_t communicator, int* rank) {
  *rank = object(communicator)->rank;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommCuDevice(const ncclComm_t communicator, int* device) {
  *device = object(communicator)->device;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) {
  *error = ncclSuccess;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
  return cudaMalloc(pointer, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
EXPORT ncclResult_t ncclMemFree(void* pointer) {
  cudaFree(pointer);
  return ncclSuccess;
}
