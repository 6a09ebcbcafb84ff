// NVIDIA's own cuDNN, loaded where it sees nothing of the emulation.
#pragma once

#include <cudnn.h>
#include <locale.h>

namespace emulated::cudnn {

// The entry points that the bridge calls.
struct Library {
  cudnnStatus_t (*create)(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t*);
  cudnnStatus_t (*destroy)(cudnnBackendDescriptor_t);
  cudnnStatus_t (*finalize)(cudnnBackendDescriptor_t);
  cudnnStatus_t (*set)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t,
                       cudnnBackendAttributeType_t, int64_t, const void*);
  cudnnStatus_t (*get)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t,
                       cudnnBackendAttributeType_t, int64_t, int64_t*, void*);
  const char* (*error_string)(cudnnStatus_t);
  void (*last_error)(char*, size_t);
  size_t (*version)();
  locale_t (*use_locale)(locale_t);  // of the C library in cuDNN's namespace

  // To be called by every thread before it calls any of the above. The C library in cuDNN's
  // namespace keeps its character tables per thread, and sets them up only for threads that it
  // starts itself; isspace() and the like crash in any other one, such as autograd's.
  void enter_thread() const;

  // To be called before the first descriptor, and before the first one of a graph that cuDNN
  // compiles at run time (attention). cuDNN asks for these libraries by name; not every version
  // knows the way to them, since in an ordinary process torch has loaded them before.
  void provide_blas() const;
  void provide_compiler() const;
};

// The library that profile().cudnn_library names, loaded at the first call; null where none is
// named or it cannot be loaded. Stays loaded: its threads and caches are not made to be unloaded.
const Library* library();

}  // namespace emulated::cudnn
