// What is not emulated, and who asked for it: the planner names both in its report.
#include <cstring>
#include <string>

#include <dlfcn.h>

#include "device.h"

namespace {

// "bitsandbytes" for .../site-packages/bitsandbytes/libx.so; else the name of the file.
std::string library_of(const void* caller) {
  Dl_info found;
  if (!caller || !dladdr(caller, &found) || !found.dli_fname) return "unknown";
  const std::string path = found.dli_fname;
  for (const char* folder : {"/site-packages/", "/dist-packages/"}) {
    const size_t at = path.rfind(folder);
    if (at == std::string::npos) continue;
    const size_t begin = at + strlen(folder);
    return path.substr(begin, path.find('/', begin) - begin);
  }
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

// For the generated stubs: notes the call and gives `status` back. torch asks the driver about
// abilities that it can do without, so that its own calls are not noted. The thread's last error stays
// as it is: a library that does without the call would else end PyTorch at its next kernel.
EXPORT long planner_device_refuse(const char* function, long status, const void* caller) {
  std::string library = library_of(caller);
  for (char& letter : library) {
    if (letter == ' ') letter = '_';  // notes are words
  }
  if (library != "torch") emulated::note(("refused:" + library + ":" + function).c_str());
  return status;
}
