// NVIDIA's own cuDNN, loaded where it sees nothing of the emulation.
//
// The emulated libraries answer to the names libcudnn.so.9, libcuda.so.1, libcublasLt.so.N and
// libnvrtc.so.N and export cudnn* symbols to everybody; the real library must find none of that, or
// it would call back into the emulation. It gets a link namespace of its own, whose first library
// is bridge_driver.c: a driver that succeeds, and the calls that two C libraries must not both
// answer.
#include "cudnn_library.h"

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>

#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "cudnn_bridge_host.h"
#include "device.h"

namespace emulated::cudnn {
namespace {

template <typename Function>
bool resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

// The namespace's C library has begun with a pointer to this process's array of environment
// variables, which a later setenv() here moves and frees. It gets a copy of its own, never freed.
void keep_environment(void* handle) {
  char*** theirs = nullptr;
  if (!resolve(handle, "environ", theirs) || !*theirs) return;
  auto* copy = new std::vector<char*>();
  for (char** variable = *theirs; *variable; variable++) copy->push_back(strdup(*variable));
  copy->push_back(nullptr);
  *theirs = copy->data();
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

// Where NVIDIA's wheels put one another's libraries: nvidia/cudnn/lib beside nvidia/cublas/lib (or
// nvidia/cu13/lib); elsewhere they share one folder. Empty where there is none.
std::string neighbour(const std::string& path, const std::string& pattern) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  for (const std::string& place : {folder + "../../*/lib/", folder}) {
    glob_t found = {};
    const bool any = glob((place + pattern).c_str(), 0, nullptr, &found) == 0;
    const std::string first = any ? found.gl_pathv[0] : "";
    globfree(&found);
    if (any) return first;
  }
  return "";
}

// Where the library was loaded, to add its neighbours later; there is only one.
struct Namespace {
  Lmid_t id;
  std::string cudnn_path;
};
Namespace* g_namespace = nullptr;

void open_neighbour(const std::string& pattern) {
  const std::string file = neighbour(g_namespace->cudnn_path, pattern);
  if (!file.empty()) dlmopen(g_namespace->id, file.c_str(), RTLD_LAZY | RTLD_LOCAL);
}

bool load(const std::string& path, const std::string& driver_path, Library& entry) {
  Lmid_t space;
  if (driver_path.empty() || !open_namespace(driver_path, space)) return false;
  g_namespace = new Namespace{space, path};
  void* handle = dlmopen(space, path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return false;
  keep_environment(handle);
  return resolve(handle, "cudnnBackendCreateDescriptor", entry.create) &&
         resolve(handle, "cudnnBackendDestroyDescriptor", entry.destroy) &&
         resolve(handle, "cudnnBackendFinalize", entry.finalize) &&
         resolve(handle, "cudnnBackendSetAttribute", entry.set) &&
         resolve(handle, "cudnnBackendGetAttribute", entry.get) &&
         resolve(handle, "cudnnGetErrorString", entry.error_string) &&
         resolve(handle, "cudnnGetLastErrorString", entry.last_error) &&
         resolve(handle, "cudnnGetVersion", entry.version) &&
         resolve(handle, "uselocale", entry.use_locale);
}

// One attempt per path: namespaces are few (16) and a second attempt would end like the first. Once
// a library is loaded it is the only one: descriptors of it may still be alive.
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

void Library::provide_blas() const {
  static std::once_flag once;
  std::call_once(once, [] { open_neighbour("libcublasLt.so.*"); });
}

void Library::provide_compiler() const {
  static std::once_flag once;
  std::call_once(once, [] { open_neighbour("libnvrtc.so.*"); });
}

const Library* library() {
  static auto* attempt = new Attempt();  // leaked: used by other libraries' exit handlers
  const std::string& path = profile().cudnn_library;
  if (path.empty()) return nullptr;
  std::lock_guard<std::mutex> lock(attempt->mutex);
  if (attempt->path != path && !attempt->loaded) {
    attempt->path = path;
    attempt->loaded = load(path, profile().bridge_driver_library, attempt->entry);
  }
  if (!attempt->loaded || attempt->path != path) return nullptr;
  attempt->entry.enter_thread();
  return &attempt->entry;
}

}  // namespace emulated::cudnn
