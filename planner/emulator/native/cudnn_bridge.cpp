// cuDNN's own engine choice and workspaces for the emulated card.
#include "cudnn_bridge.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <map>
#include <mutex>
#include <sstream>
#include <string>

#include "cudnn_library.h"
#include "device.h"

namespace emulated::cudnn::bridge {
namespace {

// From cudnn_graph.h of cuDNN >= 9.8; written as numbers because older headers lack the names.
constexpr int kDevicePropertiesDescriptor = 38;   // CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR
constexpr int kDevicePropertiesJson = 2702;       // CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION
constexpr int kHeuristicsDeviceProperties = 204;  // CUDNN_ATTR_ENGINEHEUR_DEVICEPROP
constexpr int kPlanDeviceProperties = 407;        // CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP
constexpr int kEngineDeviceProperties = 1307;     // CUDNN_ATTR_ENGINE_DEVICEPROP

// Plans without a device came with cuDNN 9.8. For compute capability 10, 9.10.2 crashes while it
// looks for engines; 9.13, 9.15 and 9.24 do not.
size_t oldest_version() { return profile().major == 10 ? 91300 : 90800; }

// The keys are those that cuDNN's own serialization of a device writes; see openxla/xla,
// xla/backends/gpu/target_config/cudnn_device_props.cc, for the list, and the *.txtpb files beside
// it for the values of real cards.
std::string describe(const Profile& card) {
  // One block's share that the system keeps: CUDA C++ programming guide, compute capabilities 8.x+.
  const int reserved_shared_bytes = card.major >= 8 ? 1024 : 0;
  std::ostringstream json;
  json << "{\"deviceVer\": " << card.major * 100 + card.minor * 10
       << ", \"multiProcessorCount\": " << card.multiprocessors << ", \"warpSize\": 32"
       << ", \"maxSharedMemoryPerBlock\": 49152"
       << ", \"maxSharedMemoryPerBlockOptin\": " << card.shared_per_block_optin_bytes
       << ", \"reservedSharedMemoryPerBlock\": " << reserved_shared_bytes
       << ", \"maxRegistersPerSM\": 65536"
       << ", \"maxCtasPerSM\": " << card.blocks_per_sm << ", \"maxThreadsPerBlock\": 1024"
       << ", \"maxThreadsPerSM\": " << card.threads_per_sm << ", \"regsPerBlock\": 65536"
       << ", \"totalGlobalMem\": " << card.total_memory_bytes
       << ", \"smClockRateKHz\": " << card.clock_khz << ", \"l2CacheSize\": " << card.l2_bytes
       << ", \"maxBlockSize\": [1024, 1024, 64]"
       << ", \"memClockRateKHz\": " << card.memory_clock_khz
       << ", \"maxGridSize\": [2147483647, 65535, 65535]"
       << ", \"supportCoopLaunch\": 1, \"pciDeviceId\": 0, \"isTccDriver\": 0"
       << ", \"cudaDeviceId\": 0, \"driverVer\": " << CUDART_VERSION
       << ", \"deviceName\": \"emulated\"}";
  return json.str();
}

cudnnBackendDescriptor_t make_description(const Library& real, const std::string& json) {
  cudnnBackendDescriptor_t made = nullptr;
  const auto type = static_cast<cudnnBackendDescriptorType_t>(kDevicePropertiesDescriptor);
  if (real.create(type, &made) != CUDNN_STATUS_SUCCESS) return nullptr;
  const auto attribute = static_cast<cudnnBackendAttributeName_t>(kDevicePropertiesJson);
  const auto length = static_cast<int64_t>(json.size());
  if (real.set(made, attribute, CUDNN_TYPE_CHAR, length, json.data()) == CUDNN_STATUS_SUCCESS &&
      real.finalize(made) == CUDNN_STATUS_SUCCESS) {
    return made;
  }
  real.destroy(made);
  return nullptr;
}

// The description of the current profile's card; null where cuDNN refuses it. Made anew when the
// profile changes, and kept: plans that were built with an older one may still be alive.
cudnnBackendDescriptor_t description(const Library& real) {
  static auto* mutex = new std::mutex();
  static auto* made = new std::map<std::string, cudnnBackendDescriptor_t>();
  const std::string json = describe(profile());
  std::lock_guard<std::mutex> lock(*mutex);
  auto known = made->find(json);
  if (known == made->end()) known = made->emplace(json, make_description(real, json)).first;
  return known->second;
}

// The attribute by which a descriptor of this type takes the device; 0 where it takes none.
int device_attribute_of(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return kHeuristicsDeviceProperties;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return kPlanDeviceProperties;
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
      return kEngineDeviceProperties;
    default:
      return 0;
  }
}

// The library that made the bridged descriptors. It outlives a change of profile, as they may.
std::atomic<const Library*> g_real{nullptr};

const Library& real() {
  const Library& found = *g_real.load();
  found.enter_thread();
  return found;
}

}  // namespace

bool available() {
  if (profile().cudnn_library.empty()) return false;
  const Library* found = library();
  const char* obstacle = nullptr;
  if (!found) {
    obstacle = "cudnn-library-not-loaded";
  } else if (found->version() < oldest_version()) {
    obstacle = "cudnn-library-too-old";
  } else if (!description(*found)) {
    obstacle = "cudnn-card-refused";
  }
  if (obstacle) {
    note(obstacle);
    return false;
  }
  g_real.store(found);
  return true;
}

void expect_attention() { real().provide_compiler(); }

cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  real().provide_blas();
  return real().create(type, descriptor);
}

cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor) { return real().destroy(descriptor); }

cudnnStatus_t finalize(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type) {
  if (const int attribute = device_attribute_of(type)) {
    cudnnBackendDescriptor_t card = description(real());
    const auto name = static_cast<cudnnBackendAttributeName_t>(attribute);
    const cudnnStatus_t status = set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &card);
    if (status != CUDNN_STATUS_SUCCESS) return status;
  }
  return real().finalize(descriptor);
}

cudnnStatus_t set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  return real().set(descriptor, name, type, count, values);
}

cudnnStatus_t get(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, int64_t requested, int64_t* count,
                  void* values) {
  return real().get(descriptor, name, type, requested, count, values);
}

}  // namespace emulated::cudnn::bridge
