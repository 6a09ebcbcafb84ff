// A communicator as the collectives see it.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include <nccl.h>

#include "contents.h"
#include "peers.h"

namespace emulated {

struct Communicator {
  int ranks = 1;
  int rank = 0;
  int device = 0;
  // Of the processes, by rank; empty where there is one rank alone, and collectives do nothing.
  std::vector<peers::Name> processes;
  uint64_t id = 0;       // the same in all ranks, and of no other communicator
  uint64_t derived = 0;  // communicators that were split off or shrunk from this one
  std::mutex mutex;      // PyTorch's watchdog looks at the two below
  std::vector<ContentPointer> coming;
  ncclResult_t status = ncclSuccess;

  bool has_peers() const { return !processes.empty(); }
  peers::Route route_from(int source, peers::Channel channel) const {
    return {id, source, channel};
  }
};

inline Communicator& communicator_of(ncclComm_t handle) {
  return *reinterpret_cast<Communicator*>(handle);
}

// Remembers what ncclGetLastError() will say, and passes the status through.
ncclResult_t nccl_report(ncclResult_t status, const std::string& text);
// ncclSuccess, or why the communicator cannot be used any more: a letter never came.
ncclResult_t check_letters(Communicator& communicator);

}  // namespace emulated
