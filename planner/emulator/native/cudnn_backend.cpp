// cuDNN's graph ("backend") API: every call goes to the real library where that can answer for the
// emulated card, else to the model. Executing a plan does nothing.
//
// Callers' mistakes that would crash the real library (a descriptor used after it was destroyed,
// destroyed twice, or never created) come back as a status here.
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <unordered_map>

#include "contents.h"
#include "cudnn_bridge.h"
#include "cudnn_model.h"
#include "device.h"
#include "streams.h"

using namespace emulated;
using namespace emulated::cudnn;

namespace {

using Descriptor = cudnnBackendDescriptor_t;

struct Entry {
  cudnnBackendDescriptorType_t type;
  bool bridged;
  bool attention;  // part of an attention graph, or made from one
  void* handle;    // what was set as the descriptor's cuDNN handle; the real library gets none
  // Of a plan: its engine configuration, and whether it was put off to build it (see put_off).
  Descriptor configuration;
  bool put_off;
  int64_t workspace_bytes;
  Descriptor graph;           // the operation graph it was made for
  int64_t least_built_bytes;  // of a graph: the least workspace of its plans that are built, or -1
};

// From cudnn_graph.h of newer cuDNN than the oldest supported one (9.1), which lacks the names.
// CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, 9.2:
constexpr auto kConfigurationWorkspace = static_cast<cudnnBackendAttributeName_t>(303);
constexpr int kAttentionForward = 41;   // CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR, 9.13
constexpr int kAttentionBackward = 43;  // CUDNN_BACKEND_OPERATION_SDPA_BWD_DESCRIPTOR, 9.17

std::mutex& registry_mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

std::unordered_map<Descriptor, Entry>& registry() {
  static auto* entries = new std::unordered_map<Descriptor, Entry>();
  return *entries;
}

bool lookup(Descriptor descriptor, Entry& entry) {
  std::lock_guard<std::mutex> lock(registry_mutex());
  const auto found = registry().find(descriptor);
  if (found == registry().end()) return false;
  entry = found->second;
  return true;
}

// Attention is one operation of its own, or a graph around matrix products; PyTorch asks cuDNN's
// graph API for matrix products in attention alone.
bool starts_attention(cudnnBackendDescriptorType_t type) {
  switch (static_cast<int>(type)) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
    case kAttentionForward:
    case kAttentionBackward:
      return true;
    default:
      return false;
  }
}

template <typename Change>
void update(Descriptor descriptor, Change change) {
  std::lock_guard<std::mutex> lock(registry_mutex());
  const auto found = registry().find(descriptor);
  if (found != registry().end()) change(found->second);
}

bool is_handle(cudnnBackendAttributeName_t name) {
  return name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE || name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE;
}

// What a descriptor is made for, which it has from those it is made of.
struct Purpose {
  bool attention;
  Descriptor graph;
};

// Whether every descriptor among `values` is alive and on the same side as `owner`. Adds to
// `purpose` what they are made for.
bool usable(const Entry& owner, const void* values, int64_t count, Purpose& purpose) {
  const auto* descriptors = static_cast<const Descriptor*>(values);
  for (int64_t i = 0; descriptors && i < count; i++) {
    if (!descriptors[i]) continue;
    Entry entry;
    if (!lookup(descriptors[i], entry) || entry.bridged != owner.bridged) return false;
    purpose.attention = purpose.attention || entry.attention;
    const bool graph = entry.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
    if (graph || entry.graph) purpose.graph = graph ? descriptors[i] : entry.graph;
  }
  return true;
}

void mark(const Descriptor* descriptors, int64_t count, const Purpose& purpose) {
  for (int64_t i = 0; i < count; i++) {
    update(descriptors[i], [&purpose](Entry& entry) {
      entry.attention = entry.attention || purpose.attention;
      if (purpose.graph) entry.graph = purpose.graph;
    });
  }
}

// The real library crashes on a plan whose engine configuration is missing or something else.
bool is_configuration(Descriptor descriptor) {
  Entry entry;
  return lookup(descriptor, entry) && entry.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
}

// The least workspace of the plans of `graph` that are built; -1 where there are none.
int64_t least_built_bytes(Descriptor graph) {
  Entry entry;
  return graph && lookup(graph, entry) ? entry.least_built_bytes : -1;
}

// Building an attention plan compiles its kernel, which takes 0.3 to 2 s and is never launched; the
// dozens of plans that the benchmark mode tries for a convolution take as long. The engine
// configuration knows the same workspace, so a plan is built only if somebody asks it for something
// else. Of a convolution one plan is built at once, so that some plan is known to work. False where
// cuDNN does not tell: then the plan has to be built.
bool put_off(Descriptor plan, const Entry& entry) {
  if (!is_configuration(entry.configuration)) return false;
  if (!entry.attention && least_built_bytes(entry.graph) < 0) return false;
  int64_t bytes = 0;
  int64_t count = 0;
  const cudnnStatus_t status = bridge::get(entry.configuration, kConfigurationWorkspace,
                                           CUDNN_TYPE_INT64, 1, &count, &bytes);
  if (status != CUDNN_STATUS_SUCCESS || count != 1) return false;
  update(plan, [bytes](Entry& changed) {
    changed.put_off = true;
    changed.workspace_bytes = bytes;
  });
  return true;
}

cudnnStatus_t build_now(Descriptor plan, const Entry& entry) {
  update(plan, [](Entry& changed) { changed.put_off = false; });
  const cudnnStatus_t status = bridge::finalize(plan, entry.type);
  if (status != CUDNN_STATUS_SUCCESS || !entry.graph) return status;
  int64_t bytes = 0;
  int64_t count = 0;
  if (bridge::get(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                  &bytes) == CUDNN_STATUS_SUCCESS) {
    update(entry.graph, [bytes](Entry& graph) {
      const int64_t least = graph.least_built_bytes;
      graph.least_built_bytes = least < 0 ? bytes : std::min(least, bytes);
    });
  }
  return status;
}

// What PyTorch's benchmark mode compares. An engine that has to copy its operands into a workspace
// writes and reads that; with everything else taken to be equal, the least workspace wins.
double execution_ms(int64_t workspace_bytes) {
  const Profile& card = profile();
  const double bytes_per_ms = 2.0 * card.memory_clock_khz * card.bus_bits / 8;
  return 2.0 * static_cast<double>(workspace_bytes) / bytes_per_ms;
}

template <typename Value>
cudnnStatus_t answer(Value value, int64_t requested, int64_t* count, void* values) {
  if (count) *count = 1;
  if (values && requested > 0) *static_cast<Value*>(values) = value;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

EXPORT cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                                  Descriptor* descriptor) {
  if (!descriptor) return CUDNN_STATUS_BAD_PARAM;
  const bool bridged = bridge::available();
  const bool attention = starts_attention(type);
  if (bridged && attention) bridge::expect_attention();
  const cudnnStatus_t status =
      bridged ? bridge::create(type, descriptor) : model::create(type, descriptor);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  std::lock_guard<std::mutex> lock(registry_mutex());
  registry()[*descriptor] =
      Entry{type, bridged, attention, nullptr, nullptr, false, 0, nullptr, -1};
  return status;
}

EXPORT cudnnStatus_t cudnnBackendDestroyDescriptor(Descriptor descriptor) {
  bool bridged = false;
  {
    std::lock_guard<std::mutex> lock(registry_mutex());
    const auto found = registry().find(descriptor);
    if (found == registry().end()) return CUDNN_STATUS_BAD_PARAM;
    bridged = found->second.bridged;
    registry().erase(found);
  }
  return bridged ? bridge::destroy(descriptor) : model::destroy(descriptor);
}

EXPORT cudnnStatus_t cudnnBackendInitialize(Descriptor) { return CUDNN_STATUS_SUCCESS; }

EXPORT cudnnStatus_t cudnnBackendFinalize(Descriptor descriptor) {
  Entry entry;
  if (!lookup(descriptor, entry)) return CUDNN_STATUS_BAD_PARAM;
  const bool plan = entry.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
  if (plan && !entry.configuration) return CUDNN_STATUS_BAD_PARAM;
  if (!entry.bridged || (plan && put_off(descriptor, entry))) return CUDNN_STATUS_SUCCESS;
  return plan ? build_now(descriptor, entry) : bridge::finalize(descriptor, entry.type);
}

EXPORT cudnnStatus_t cudnnBackendSetAttribute(Descriptor descriptor,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count,
                                              const void* values) {
  Entry entry;
  if (!lookup(descriptor, entry)) return CUDNN_STATUS_BAD_PARAM;
  if (is_handle(name)) {
    void* handle = values && count > 0 ? *static_cast<void* const*>(values) : nullptr;
    update(descriptor, [handle](Entry& changed) { changed.handle = handle; });
    return CUDNN_STATUS_SUCCESS;
  }
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    Purpose purpose{};
    if (!usable(entry, values, count, purpose)) return CUDNN_STATUS_BAD_PARAM;
    mark(&descriptor, 1, purpose);
    if (name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG && values && count > 0) {
      Descriptor configuration = *static_cast<const Descriptor*>(values);
      if (!is_configuration(configuration)) return CUDNN_STATUS_BAD_PARAM;
      update(descriptor, [configuration](Entry& plan) { plan.configuration = configuration; });
    }
  }
  return entry.bridged ? bridge::set(descriptor, name, type, count, values)
                       : model::set(descriptor, name, type, count, values);
}

static cudnnStatus_t attribute_of(const Descriptor descriptor, cudnnBackendAttributeName_t name,
                                  cudnnBackendAttributeType_t type, int64_t requested,
                                  int64_t* count, void* values) {
  Entry entry;
  if (!lookup(descriptor, entry)) return CUDNN_STATUS_BAD_PARAM;
  if (is_handle(name)) return answer(entry.handle, requested, count, values);
  if (entry.put_off) {
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
      return answer(entry.workspace_bytes, requested, count, values);
    }
    const cudnnStatus_t status = build_now(descriptor, entry);
    if (status != CUDNN_STATUS_SUCCESS) return status;
  }
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    // The caller hands in created descriptors, to be filled.
    Purpose purpose{entry.attention, entry.graph};
    if (!usable(entry, values, requested, purpose)) return CUDNN_STATUS_BAD_PARAM;
    if (values) mark(static_cast<const Descriptor*>(values), requested, purpose);
  }
  return entry.bridged ? bridge::get(descriptor, name, type, requested, count, values)
                       : model::get(descriptor, name, type, requested, count, values);
}

// Which requests to PyTorch's allocator are workspaces shows by their sizes: they are noted.
EXPORT cudnnStatus_t cudnnBackendGetAttribute(const Descriptor descriptor,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t requested,
                                              int64_t* count, void* values) {
  const cudnnStatus_t status = attribute_of(descriptor, name, type, requested, count, values);
  if (status == CUDNN_STATUS_SUCCESS && name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE &&
      values && requested > 0) {
    const int64_t bytes = *static_cast<const int64_t*>(values);
    if (bytes > 0) note(("cudnn-workspace-" + std::to_string(bytes)).c_str());
  }
  return status;
}

EXPORT cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, Descriptor plan, Descriptor variant_pack) {
  contents::launched();
  Entry plan_entry;
  Entry pack_entry;
  if (!lookup(plan, plan_entry) || !lookup(variant_pack, pack_entry)) return CUDNN_STATUS_BAD_PARAM;
  launched();
  if (plan_entry.attention) {
    note("attention-cudnn");
    return CUDNN_STATUS_SUCCESS;
  }
  // The benchmark mode takes a plan with the least workspace: only such a one has to work.
  const bool contends = plan_entry.workspace_bytes < least_built_bytes(plan_entry.graph);
  if (plan_entry.put_off && contends) {
    const cudnnStatus_t built = build_now(plan, plan_entry);
    if (built != CUDNN_STATUS_SUCCESS) return built;
  }
  int64_t bytes = 0;
  int64_t count = 0;
  const cudnnStatus_t status = attribute_of(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                            CUDNN_TYPE_INT64, 1, &count, &bytes);
  spend(execution_ms(status == CUDNN_STATUS_SUCCESS ? bytes : 0));
  return CUDNN_STATUS_SUCCESS;
}

// Writing a plan's kernels into a CUDA graph by hand: callers have to be ready for plans that
// cannot do it. Capturing a stream works and needs no such call.
EXPORT cudnnStatus_t cudnnBackendPopulateCudaGraph(cudnnHandle_t, Descriptor, Descriptor,
                                                   cudaGraph_t) {
  return CUDNN_STATUS_NOT_SUPPORTED;
}

EXPORT cudnnStatus_t cudnnBackendUpdateCudaGraph(cudnnHandle_t, Descriptor, Descriptor,
                                                 cudaGraph_t) {
  return CUDNN_STATUS_NOT_SUPPORTED;
}
