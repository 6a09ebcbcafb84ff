// The card that is emulated, set by the child process as "key=value" lines, and the notes.
#include "device.h"

#include <mutex>
#include <set>
#include <sstream>

#include <cstring>

namespace emulated {
namespace {

// Leaked on purpose: CUDA calls may come from other libraries' exit handlers.
Profile& mutable_profile() {
  static auto* profile = new Profile();
  return *profile;
}

std::mutex& notes_mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

std::set<std::string>& notes() {
  static auto* set = new std::set<std::string>();
  return *set;
}

bool assign(Profile& p, const std::string& key, const std::string& value) {
  if (key == "name")
    p.name = value;
  else if (key == "cudnn_library")
    p.cudnn_library = value;
  else if (key == "bridge_driver_library")
    p.bridge_driver_library = value;
  else if (key == "major")
    p.major = std::stoi(value);
  else if (key == "minor")
    p.minor = std::stoi(value);
  else if (key == "binary_version")
    p.binary_version = std::stoi(value);
  else if (key == "multiprocessors")
    p.multiprocessors = std::stoi(value);
  else if (key == "threads_per_sm")
    p.threads_per_sm = std::stoi(value);
  else if (key == "blocks_per_sm")
    p.blocks_per_sm = std::stoi(value);
  else if (key == "total_memory_bytes")
    p.total_memory_bytes = std::stoull(value);
  else if (key == "capacity_bytes")
    p.capacity_bytes = std::stoull(value);
  else if (key == "l2_bytes")
    p.l2_bytes = std::stoull(value);
  else if (key == "shared_per_sm_bytes")
    p.shared_per_sm_bytes = std::stoull(value);
  else if (key == "shared_per_block_optin_bytes")
    p.shared_per_block_optin_bytes = std::stoull(value);
  else if (key == "clock_khz")
    p.clock_khz = std::stoi(value);
  else if (key == "memory_clock_khz")
    p.memory_clock_khz = std::stoi(value);
  else if (key == "bus_bits")
    p.bus_bits = std::stoi(value);
  else if (key == "device_count")
    p.device_count = std::stoi(value);
  else if (key == "launch_lag")
    p.launch_lag = value == "never" ? kNothingUntilWait : std::stoull(value);
  else if (key == "nccl_peers")
    p.nccl_peers = std::stoi(value) != 0;
  else
    return false;
  return true;
}

}  // namespace

const Profile& profile() { return mutable_profile(); }

void note(const char* key) {
  std::lock_guard<std::mutex> lock(notes_mutex());
  notes().insert(key);
}

}  // namespace emulated

// Returns 0, or the 1-based number of the line that is not understood; nothing is changed then.
EXPORT int planner_device_configure(const char* text) {
  emulated::Profile fresh;
  std::istringstream lines(text ? text : "");
  std::string line;
  for (int number = 1; std::getline(lines, line); number++) {
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    if (equals == std::string::npos) return number;
    try {
      if (!emulated::assign(fresh, line.substr(0, equals), line.substr(equals + 1))) return number;
    } catch (const std::exception&) {
      return number;
    }
  }
  if (fresh.device_count < 1 || fresh.device_count > emulated::kMaxDevices) return -1;
  emulated::mutable_profile() = fresh;
  return 0;
}

// Copies the notes, one per line, into `buffer`; returns the size needed with the final zero.
EXPORT size_t planner_device_notes(char* buffer, size_t size) {
  std::string all;
  {
    std::lock_guard<std::mutex> lock(emulated::notes_mutex());
    for (const auto& key : emulated::notes()) all += key + "\n";
  }
  if (buffer && size) {
    const size_t copied = all.size() < size - 1 ? all.size() : size - 1;
    memcpy(buffer, all.data(), copied);
    buffer[copied] = 0;
  }
  return all.size() + 1;
}

// For the generated stubs, which are C.
EXPORT void planner_device_note(const char* key) { emulated::note(key); }
