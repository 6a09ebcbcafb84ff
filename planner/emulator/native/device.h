// Shared by every part of the emulated CUDA device: what card it is, what it notes down.
//
// The device accounts memory and answers queries; kernels do nothing. Written against the public
// headers that the CUDA wheels bring. All entry points that Python calls begin with planner_.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace emulated {

constexpr size_t MiB = size_t{1} << 20;
constexpr size_t GiB = size_t{1} << 30;
constexpr int kMaxDevices = 16;
constexpr uint64_t kNothingUntilWait = UINT64_MAX;  // a lag: nothing is done until the host waits

struct Profile {
  std::string name = "unconfigured (emulated)";
  int major = 8;
  int minor = 0;
  // Highest architecture <= the card's that the installed torch has code for, as 10 * major +
  // minor: what a driver reports for a loaded kernel. CUB picks its launch policy by it.
  int binary_version = 80;
  int multiprocessors = 108;
  int threads_per_sm = 2048;
  int blocks_per_sm = 32;
  size_t total_memory_bytes = 80 * GiB;  // what torch reports as total_memory
  size_t capacity_bytes = 80 * GiB;      // what allocations may take together
  size_t l2_bytes = 40 * MiB;
  size_t shared_per_sm_bytes = 164 << 10;
  size_t shared_per_block_optin_bytes = 163 << 10;
  int clock_khz = 1410000;
  int memory_clock_khz = 1593000;
  int bus_bits = 5120;
  int device_count = 1;
  // How many launches the card is behind the host (see streams.cpp); 0: it keeps up.
  uint64_t launch_lag = 0;
  // Whether the other ranks of NCCL's communicators are processes of this machine. Else there is one
  // rank alone, and collectives do nothing.
  bool nccl_peers = false;
  std::string cudnn_library;          // the wheel's libcudnn.so.9; empty: use the model
  std::string bridge_driver_library;  // stub libcuda.so.1 for that library's own namespace
};

const Profile& profile();

// Remembers once that something happened which the planner reports (a model was used where
// NVIDIA's own figure is not known, an attention kernel ran ...). Cheap after the first time.
void note(const char* key);

}  // namespace emulated
