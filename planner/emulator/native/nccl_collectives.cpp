// NCCL: collectives, sends and receives. Each rank sends its peers what it knows of the bytes that
// they would get, or that it does not know them; what a rank gets is on its way until it is needed:
// read by the host, or waited for with a stream or an event. So no call waits for a peer, and groups
// (ncclGroupStart, ncclGroupEnd: generated stubs) change nothing. One rank alone moves nothing, and
// knows nothing of what it would get.
#include <atomic>
#include <cstring>

#include <cuda_runtime_api.h>

#include "arrivals.h"
#include "device.h"
#include "nccl_communicator.h"
#include "nccl_reduction.h"
#include "streams.h"

using namespace emulated;
using peers::Channel;

namespace {

// Ranks must agree in it. The numbers appear in the text of an error.
enum Kind : int32_t {
  kAllReduce = 1,
  kReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kGather,
  kScatter,
  kSend,
};

const char* at(const void* buffer, size_t bytes) {
  return static_cast<const char*>(buffer) + bytes;
}

// One operation of one rank: its letters to the others, and those that it expects.
class Operation {
 public:
  Operation(ncclComm_t handle, Kind kind, size_t bytes, cudaStream_t stream)
      : communicator_(communicator_of(handle)), kind_(kind), bytes_(bytes), stream_(stream) {
    launched();
  }

  ncclResult_t status() { return check_letters(communicator_); }
  bool is_alone() const { return !communicator_.has_peers(); }
  int rank() const { return communicator_.rank; }
  int ranks() const { return communicator_.ranks; }

  // The content is null if it is not known. A peer that has ended needs nothing; what it owes to this
  // rank is missed by whoever expects it.
  void send(int peer, const ContentPointer& content) {
    peers::send(communicator_.processes[peer], communicator_.route_from(rank(), channel()),
                {kind_, bytes_, content ? content->bytes() : KnownBytes()});
  }
  void send(int peer, const void* buffer) { send(peer, contents::get(buffer, bytes_)); }

  ContentPointer expect(int peer) {
    const ContentPointer letter = peers::expect(
        communicator_.processes[peer], communicator_.route_from(peer, channel()), kind_, bytes_);
    {
      std::lock_guard<std::mutex> lock(communicator_.mutex);
      communicator_.coming.push_back(letter);
    }
    arrivals::add(stream_, letter);
    return letter;
  }

  // `buffer` holds what the peer sends.
  void receive(int peer, const void* buffer) { contents::put(buffer, bytes_, expect(peer)); }

 private:
  Channel channel() const { return kind_ == kSend ? Channel::kPointToPoint : Channel::kCollective; }

  Communicator& communicator_;
  const Kind kind_;
  const size_t bytes_;
  const cudaStream_t stream_;
};

// Where no peer is: the only rank of a communicator gets what it sends, one rank of several gets what
// is not known here. `bytes` of the whole output.
ncclResult_t alone(const Operation& operation, const void* in, void* out, size_t bytes) {
  if (operation.ranks() > 1)
    contents::put(out, bytes, nullptr);
  else if (in != out)
    contents::copy(out, in, bytes);
  return ncclSuccess;
}
ncclResult_t alone_reduced(const Operation& operation, const void* in, void* out, size_t bytes,
                           ncclRedOp_t reduced_by) {
  alone(operation, in, out, bytes);
  if (reduced_by >= ncclNumOps) contents::put(out, bytes, nullptr);
  return ncclSuccess;
}

// What all ranks have sent to this one, reduced; `own` is its own part, null if it is not known.
ContentPointer reduction(Operation& operation, const ContentPointer& own, ncclDataType_t type,
                         ncclRedOp_t reduced_by) {
  std::vector<ContentPointer> parts(operation.ranks());
  for (int rank = 0; rank < operation.ranks(); rank++)
    parts[rank] = rank == operation.rank() ? own : operation.expect(rank);
  return own ? reduced_content(std::move(parts), type, reduced_by) : nullptr;
}

}  // namespace

EXPORT ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                                  ncclRedOp_t reduced_by, ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kAllReduce, bytes, stream);
  if (operation.is_alone()) return alone_reduced(operation, in, out, bytes, reduced_by);
  const ContentPointer own = contents::get(in, bytes);
  for (int rank = 0; rank < operation.ranks(); rank++)
    if (rank != operation.rank()) operation.send(rank, own);
  contents::put(out, bytes, reduction(operation, own, type, reduced_by));
  return operation.status();
}

EXPORT ncclResult_t ncclReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                               ncclRedOp_t reduced_by, int root, ncclComm_t handle,
                               cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kReduce, bytes, stream);
  const bool is_root = operation.rank() == root;
  if (operation.is_alone())
    return is_root ? alone_reduced(operation, in, out, bytes, reduced_by) : ncclSuccess;
  const ContentPointer own = contents::get(in, bytes);
  if (is_root)
    contents::put(out, bytes, reduction(operation, own, type, reduced_by));
  else
    operation.send(root, own);
  return operation.status();
}

EXPORT ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                                      ncclRedOp_t reduced_by, ncclComm_t handle,
                                      cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kReduceScatter, bytes, stream);
  if (operation.is_alone()) return alone_reduced(operation, in, out, bytes, reduced_by);
  for (int rank = 0; rank < operation.ranks(); rank++)
    if (rank != operation.rank()) operation.send(rank, at(in, rank * bytes));
  const ContentPointer own = contents::get(at(in, operation.rank() * bytes), bytes);
  contents::put(out, bytes, reduction(operation, own, type, reduced_by));
  return operation.status();
}

EXPORT ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type,
                                  int root, ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kBroadcast, bytes, stream);
  if (operation.rank() != root) {
    if (operation.is_alone()) return alone(operation, in, out, bytes);
    operation.receive(root, out);
    return operation.status();
  }
  if (!operation.is_alone()) {
    const ContentPointer own = contents::get(in, bytes);
    for (int rank = 0; rank < operation.ranks(); rank++)
      if (rank != root) operation.send(rank, own);
  }
  if (in != out) contents::copy(out, in, bytes);
  return operation.status();
}
EXPORT ncclResult_t ncclBcast(void* buffer, size_t count, ncclDataType_t type, int root,
                              ncclComm_t handle, cudaStream_t stream) {
  return ncclBroadcast(buffer, buffer, count, type, root, handle, stream);
}

EXPORT ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                                  ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kAllGather, bytes, stream);
  if (operation.is_alone()) return alone(operation, in, out, bytes * operation.ranks());
  const ContentPointer own = contents::get(in, bytes);
  for (int rank = 0; rank < operation.ranks(); rank++) {
    if (rank == operation.rank()) {
      contents::put(at(out, rank * bytes), bytes, own);
      continue;
    }
    operation.send(rank, own);
    operation.receive(rank, at(out, rank * bytes));
  }
  return operation.status();
}

// NCCL forbids it in place, so an output is no input of a later rank. Headers before NCCL 2.28 lack
// it and the two that follow; PyTorch then sends and receives in a group.
EXPORT ncclResult_t ncclAlltoAll(const void* in, void* out, size_t count, ncclDataType_t type,
                                 ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kAllToAll, bytes, stream);
  if (operation.is_alone()) return alone(operation, in, out, bytes * operation.ranks());
  for (int rank = 0; rank < operation.ranks(); rank++) {
    operation.send(rank, at(in, rank * bytes));
    operation.receive(rank, at(out, rank * bytes));
  }
  return operation.status();
}
EXPORT ncclResult_t ncclGather(const void* in, void* out, size_t count, ncclDataType_t type,
                               int root, ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kGather, bytes, stream);
  const bool is_root = operation.rank() == root;
  if (operation.is_alone())
    return is_root ? alone(operation, in, out, bytes * operation.ranks()) : ncclSuccess;
  operation.send(root, in);
  if (is_root)
    for (int rank = 0; rank < operation.ranks(); rank++)
      operation.receive(rank, at(out, rank * bytes));
  return operation.status();
}
EXPORT ncclResult_t ncclScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                                int root, ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kScatter, bytes, stream);
  if (operation.is_alone()) return alone(operation, in, out, bytes);
  if (operation.rank() == root)
    for (int rank = 0; rank < operation.ranks(); rank++) operation.send(rank, at(in, rank * bytes));
  operation.receive(root, out);
  return operation.status();
}

EXPORT ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer,
                             ncclComm_t handle, cudaStream_t stream) {
  Operation operation(handle, kSend, count * bytes_of_type(type), stream);
  if (!operation.is_alone()) operation.send(peer, in);
  return operation.status();
}
EXPORT ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer,
                             ncclComm_t handle, cudaStream_t stream) {
  const size_t bytes = count * bytes_of_type(type);
  Operation operation(handle, kSend, bytes, stream);
  if (operation.is_alone()) return alone(operation, out, out, bytes);
  operation.receive(peer, out);
  return operation.status();
}

// The number of an operation that a program has made; its result is unknown (see nccl_reduction.h).
EXPORT ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t* operation, void*, ncclDataType_t,
                                             ncclScalarResidence_t, ncclComm_t) {
  static std::atomic<int> next{ncclNumOps};
  *operation = static_cast<ncclRedOp_t>(next++);
  return ncclSuccess;
}
