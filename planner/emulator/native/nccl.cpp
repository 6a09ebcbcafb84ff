// NCCL: communicators. With `nccl_peers` in the profile their other ranks are processes of this
// machine, which find each other by the unique id; else there is one rank alone. The memory that
// NCCL takes outside PyTorch's allocator is not part of the emulated device.
#include "nccl_communicator.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include <cuda_runtime_api.h>

#include "device.h"
#include "status.h"

using namespace emulated;

namespace {

// What a unique id holds: the communicator, and the process that made the id.
struct UniqueId {
  uint64_t communicator;
  peers::Name root;
};
static_assert(sizeof(UniqueId) <= sizeof(ncclUniqueId), "a unique id holds it");

constexpr int kTableSource = -1;  // the ranks do not know yet which of them made the id
// For ranks that never come. NCCL itself waits without end.
constexpr int kJoinSeconds = 120;

std::mutex& text_mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}
std::string& last_text() {
  static auto* text = new std::string();
  return *text;
}

// Well mixed bits of a and b (the finalizer of MurmurHash3).
uint64_t mixed(uint64_t a, uint64_t b) {
  uint64_t bits = a ^ (b + 0x9e3779b97f4a7c15 + (a << 6) + (a >> 2));
  bits = (bits ^ (bits >> 33)) * 0xff51afd7ed558ccd;
  bits = (bits ^ (bits >> 33)) * 0xc4ceb9fe1a85ec53;
  return bits ^ (bits >> 33);
}

Communicator* create(int ranks, int rank) {
  note("nccl");
  auto* made = new Communicator();
  made->ranks = ranks;
  made->rank = rank;
  made->device = current_device();
  return made;
}

ncclComm_t handle_of(Communicator* made) { return reinterpret_cast<ncclComm_t>(made); }

ncclResult_t gone(const std::string& who) {
  return nccl_report(ncclRemoteError, who + " has ended while a communicator was made");
}

// The process that made the id collects the names of all and sends each the whole table.
ncclResult_t gather_names(Communicator& communicator) {
  communicator.processes[communicator.rank] = peers::own_name();
  std::vector<ContentPointer> joining(communicator.ranks);
  for (int rank = 0; rank < communicator.ranks; rank++) {
    if (rank == communicator.rank) continue;
    joining[rank] =
        peers::expect(peers::kAnybody, communicator.route_from(rank, peers::Channel::kJoin), 0,
                      sizeof(peers::Name));
  }
  std::string table;
  for (int rank = 0; rank < communicator.ranks; rank++) {
    peers::Name& name = communicator.processes[rank];
    if (rank != communicator.rank) {
      if (!peers::await(joining[rank], kJoinSeconds) ||
          joining[rank]->state() != Content::State::kKnown)
        return nccl_report(ncclRemoteError, "rank " + std::to_string(rank) + " did not come in " +
                                                std::to_string(kJoinSeconds) + " s");
      memcpy(name.data(), joining[rank]->bytes().text.data(), name.size());
    }
    table.append(reinterpret_cast<const char*>(name.data()), name.size());
  }
  for (const peers::Name& name : communicator.processes) {
    if (name == peers::own_name()) continue;
    peers::send(name, communicator.route_from(kTableSource, peers::Channel::kTable),
                {0, table.size(), all_known(table)});
  }
  return ncclSuccess;
}

ncclResult_t receive_names(Communicator& communicator, const peers::Name& root) {
  const peers::Name own = peers::own_name();
  const std::string text(reinterpret_cast<const char*>(own.data()), own.size());
  const size_t bytes = sizeof(peers::Name) * communicator.processes.size();
  if (!peers::send(root, communicator.route_from(communicator.rank, peers::Channel::kJoin),
                   {0, text.size(), all_known(text)}))
    return gone("the process that made the unique id");
  const ContentPointer table =
      peers::expect(root, communicator.route_from(kTableSource, peers::Channel::kTable), 0, bytes);
  // The root gives up first, and this rank gets to know why.
  if (!peers::await(table, 2 * kJoinSeconds) || table->state() != Content::State::kKnown)
    return gone("the process that made the unique id");
  memcpy(communicator.processes.data(), table->bytes().text.data(), bytes);
  return ncclSuccess;
}

ncclResult_t join(Communicator& communicator, const ncclUniqueId& text) {
  UniqueId id;
  memcpy(&id, &text, sizeof id);
  communicator.id = id.communicator;
  communicator.processes.resize(communicator.ranks);
  const ncclResult_t joined = id.root == peers::own_name() ? gather_names(communicator)
                                                           : receive_names(communicator, id.root);
  if (joined != ncclSuccess) return joined;
  for (int rank = 0; rank < communicator.ranks; rank++) {
    if (!peers::meet(communicator.processes[rank]))
      return gone("the process of rank " + std::to_string(rank));
  }
  return ncclSuccess;
}

ncclResult_t initialize(ncclComm_t* out, int ranks, const ncclUniqueId& id, int rank) {
  if (!out || ranks < 1 || rank < 0 || rank >= ranks) return ncclInvalidArgument;
  Communicator* made = create(ranks, rank);
  if (profile().nccl_peers && ranks > 1) {
    const ncclResult_t joined = join(*made, id);
    if (joined != ncclSuccess) {
      peers::close(made->id);
      delete made;
      return joined;
    }
  }
  *out = handle_of(made);
  return ncclSuccess;
}

struct Part {
  int32_t color, key;
};

// The parts of all ranks, by rank; each sends its own to all.
ncclResult_t exchange_parts(Communicator& parent, Part own, std::vector<Part>* all) {
  const std::string text(reinterpret_cast<const char*>(&own), sizeof own);
  std::vector<ContentPointer> coming(parent.ranks);
  for (int rank = 0; rank < parent.ranks; rank++) {
    const peers::Name& peer = parent.processes[rank];
    peers::send(peer, parent.route_from(parent.rank, peers::Channel::kSplit),
                {0, text.size(), all_known(text)});
    coming[rank] =
        peers::expect(peer, parent.route_from(rank, peers::Channel::kSplit), 0, text.size());
  }
  all->resize(parent.ranks);
  for (int rank = 0; rank < parent.ranks; rank++) {
    coming[rank]->await();
    if (coming[rank]->state() != Content::State::kKnown)
      return nccl_report(ncclRemoteError, coming[rank]->fault());
    memcpy(&(*all)[rank], coming[rank]->bytes().text.data(), sizeof own);
  }
  return ncclSuccess;
}

// A communicator of these ranks of the parent, in this order; the own one is among them.
Communicator* derive(Communicator& parent, const std::vector<int>& members, uint64_t id) {
  const auto own = std::find(members.begin(), members.end(), parent.rank);
  Communicator* made =
      create(static_cast<int>(members.size()), static_cast<int>(own - members.begin()));
  made->id = id;
  if (parent.has_peers() && members.size() > 1)
    for (int rank : members) made->processes.push_back(parent.processes[rank]);
  return made;
}

ncclResult_t release(ncclComm_t handle) {
  if (!handle) return ncclSuccess;
  Communicator& communicator = communicator_of(handle);
  if (communicator.has_peers()) peers::close(communicator.id);
  delete &communicator;
  return ncclSuccess;
}

}  // namespace

namespace emulated {

ncclResult_t nccl_report(ncclResult_t status, const std::string& text) {
  std::lock_guard<std::mutex> lock(text_mutex());
  last_text() = text;
  return status;
}

ncclResult_t check_letters(Communicator& communicator) {
  std::lock_guard<std::mutex> lock(communicator.mutex);
  auto& coming = communicator.coming;
  for (const auto& letter : coming) {
    if (communicator.status != ncclSuccess) break;
    if (letter->state() != Content::State::kLost) continue;
    communicator.status = nccl_report(ncclRemoteError, letter->fault());
  }
  coming.erase(std::remove_if(coming.begin(), coming.end(),
                              [](const ContentPointer& letter) {
                                return letter->state() != Content::State::kComing;
                              }),
               coming.end());
  return communicator.status;
}

}  // namespace emulated

EXPORT ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclGetUniqueId(ncclUniqueId* out) {
  UniqueId id{};
  peers::draw(&id, sizeof id);
  if (profile().nccl_peers) id.root = peers::own_name();
  memset(out, 0, sizeof *out);
  memcpy(out, &id, sizeof id);
  return ncclSuccess;
}
EXPORT const char* ncclGetErrorString(ncclResult_t status) {
  if (status == ncclRemoteError) return "another rank of the emulated NCCL has ended or disagrees";
  return "status of the emulated NCCL";
}
EXPORT const char* ncclGetLastError(ncclComm_t) {
  static thread_local std::string text;
  std::lock_guard<std::mutex> lock(text_mutex());
  text = last_text();
  return text.c_str();
}

EXPORT ncclResult_t ncclCommInitRank(ncclComm_t* out, int ranks, ncclUniqueId id, int rank) {
  return initialize(out, ranks, id, rank);
}
EXPORT ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int ranks, ncclUniqueId id, int rank,
                                           ncclConfig_t*) {
  return initialize(out, ranks, id, rank);
}
// With several ids, of processes that share the work of the root: the first is enough. Headers
// before NCCL 2.23 lack it.
EXPORT ncclResult_t ncclCommInitRankScalable(ncclComm_t* out, int ranks, int rank, int count,
                                             ncclUniqueId* ids, ncclConfig_t*) {
  return count < 1 ? ncclInvalidArgument : initialize(out, ranks, ids[0], rank);
}
EXPORT ncclResult_t ncclCommInitAll(ncclComm_t* communicators, int count, const int*) {
  for (int i = 0; i < count; i++) communicators[i] = handle_of(create(count, i));
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key, ncclComm_t* out,
                                  ncclConfig_t*) {
  Communicator& parent = communicator_of(handle);
  *out = nullptr;
  if (!parent.has_peers()) {
    if (color != NCCL_SPLIT_NOCOLOR) *out = handle_of(create(parent.ranks, parent.rank));
    return ncclSuccess;
  }
  std::vector<Part> parts;
  const ncclResult_t exchanged = exchange_parts(parent, {color, key}, &parts);
  if (exchanged != ncclSuccess) return exchanged;
  const uint64_t id = mixed(mixed(parent.id, ++parent.derived), static_cast<uint64_t>(color));
  if (color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
  std::vector<int> members;
  for (int rank = 0; rank < parent.ranks; rank++)
    if (parts[rank].color == color) members.push_back(rank);
  std::stable_sort(members.begin(), members.end(),
                   [&](int a, int b) { return parts[a].key < parts[b].key; });
  *out = handle_of(derive(parent, members, id));
  return ncclSuccess;
}
// Called by the ranks that stay. Headers before NCCL 2.27 lack it.
EXPORT ncclResult_t ncclCommShrink(ncclComm_t handle, int* excluded, int count, ncclComm_t* out,
                                   ncclConfig_t*, int) {
  Communicator& parent = communicator_of(handle);
  std::vector<int> members;
  uint64_t id = mixed(parent.id, ++parent.derived);
  for (int rank = 0; rank < parent.ranks; rank++) {
    if (std::find(excluded, excluded + count, rank) != excluded + count) continue;
    members.push_back(rank);
    id = mixed(id, static_cast<uint64_t>(rank));
  }
  *out = handle_of(derive(parent, members, id));
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }
EXPORT ncclResult_t ncclCommDestroy(ncclComm_t handle) { return release(handle); }
EXPORT ncclResult_t ncclCommAbort(ncclComm_t handle) { return release(handle); }

EXPORT ncclResult_t ncclCommCount(const ncclComm_t handle, int* ranks) {
  *ranks = communicator_of(handle).ranks;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  *rank = communicator_of(handle).rank;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* device) {
  *device = communicator_of(handle).device;
  return ncclSuccess;
}
EXPORT ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* error) {
  *error = check_letters(communicator_of(handle));
  return ncclSuccess;
}
EXPORT ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
  return cudaMalloc(pointer, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
EXPORT ncclResult_t ncclMemFree(void* pointer) {
  cudaFree(pointer);
  return ncclSuccess;
}
