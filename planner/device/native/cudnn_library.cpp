// NVIDIA's own cuDNN, loaded where it sees nothing of the emulation.
//
// The emulated libraries answer to the names libcudnn.so.9, libcuda.so.1, libcublasLt.so.N and
// libnvrtc.so.N and export cudnn* symbols to everybody; the real library must find none of that, or
// it would call back into the emulation. It gets a link namespace of its own, whose first library is
// bridge_driver.c: a driver that succeeds, and the calls that two C libraries must not both answer.
#include "cudnn_library.h"

#include <dlfcn.h>
#include <pthread.h>

#include <mutex>
#include <string>

#include "cudnn_bridge_host.h"
#include "device.h"

namespace emulated::cudnn {
namespace {

template <typename Function>
bool resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

// Opens the namespace with the driver in it; false where that fails.
bool open_namespace(const std::string& driver_path, Lmid_t& space) {
  void* driver = dlmopen(LM_ID_NEWLM, driver_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!driver || dlinfo(driver, RTLD_DI_LMID, &space) != 0) return false;
  void (*adopt)(const planner_bridge_host*);
  if (!resolve(driver, PLANNER_BRIDGE_ADOPT, adopt)) return false;
  planner_bridge_host host = {};
  host.key_create = pthread_key_create;
  host.key_delete = pthread_key_delete;
  host.get_specific = pthread_getspecific;
  host.set_specific = pthread_setspecific;
  adopt(&host);
  return true;
}

bool load(const std::string& path, const std::string& driver_path, Library& entry) {
  Lmid_t space;
  if (driver_path.empty() || !open_namespace(driver_path, space)) return false;
  void* handle = dlmopen(space, path.c_str(), RTLD_NOW | RTLD_LOCAL);
  return handle && resolve(handle, "cudnnBackendCreateDescriptor", entry.create) &&
         resolve(handle, "cudnnBackendDestroyDescriptor", entry.destroy) &&
         resolve(handle, "cudnnBackendFinalize", entry.finalize) &&
         resolve(handle, "cudnnBackendSetAttribute", entry.set) &&
         resolve(handle, "cudnnBackendGetAttribute", entry.get) &&
         resolve(handle, "cudnnGetErrorString", entry.error_string) &&
         resolve(handle, "cudnnGetLastErrorString", entry.last_error) &&
         resolve(handle, "cudnnGetVersion", entry.version) &&
         resolve(handle, "uselocale", entry.use_locale);
}

// One attempt per path: namespaces are few (16) and a second attempt would end like the first.
struct Attempt {
  std::mutex mutex;
  std::string path;
  bool loaded = false;
  Library entry = {};
};

}  // namespace

void Library::enter_thread() const {
  static thread_local bool entered = false;
  if (entered) return;
  use_locale(LC_GLOBAL_LOCALE);  // changes nothing but sets up the thread's tables
  entered = true;
}

const Library* library() {
  static auto* attempt = new Attempt();  // leaked: used by other libraries' exit handlers
  const std::string& path = profile().cudnn_library;
  if (path.empty()) return nullptr;
  std::lock_guard<std::mutex> lock(attempt->mutex);
  if (attempt->path != path) {
    attempt->path = path;
    attempt->loaded = load(path, profile().bridge_driver_library, attempt->entry);
  }
  if (!attempt->loaded) return nullptr;
  attempt->entry.enter_thread();
  return &attempt->entry;
}

}  // namespace emulated::cudnn
