/* First library of the link namespace in which NVIDIA's cuDNN answers without a device.
 *
 * Built alone, with SONAME libcuda.so.1. It does two things for the libraries loaded after it:
 *
 * 1. It is the driver that cuDNN's run-time compiled engines insist on (attention, and most engines
 *    from compute capability 9 on). Its functions succeed and do nothing: plans are built for a
 *    described device, nothing is ever launched. cuInit and cuGetProcAddress are left out on
 *    purpose, so that the CUDA runtime inside cuDNN keeps finding no device.
 * 2. A new link namespace brings a second C library, but a thread has one control block for both.
 *    The second library would hand out the thread-specific keys 0, 1, 2 ... a second time: Python's
 *    and pybind11's thread states were overwritten that way. The first library loaded into a
 *    namespace comes first in the symbol search of all later ones, so the functions at the end of
 *    this file take these calls and pass them on to the first C library.
 */
#include "cudnn_bridge_host.h"

#include <errno.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

/* Written from the public driver API documentation: CUDA_SUCCESS is 0, handles are pointers. */
enum { kSuccess = 0, kDriverVersion = 13000 };

/* Something that the handles may point to. */
static long g_object[8];

EXPORT int cuDriverGetVersion(int* version) {
  *version = kDriverVersion;
  return kSuccess;
}

EXPORT int cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}

EXPORT int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return kSuccess;
}

EXPORT int cuCtxGetCurrent(void** context) {
  *context = &g_object[0];
  return kSuccess;
}

EXPORT int cuCtxPushCurrent(void* context) {
  (void)context;
  return kSuccess;
}

EXPORT int cuCtxPopCurrent(void** context) {
  if (context) *context = &g_object[0];
  return kSuccess;
}

EXPORT int cuCtxGetLimit(size_t* value, int limit) {
  (void)limit;
  *value = 0;
  return kSuccess;
}

EXPORT int cuStreamGetCtx(void* stream, void** context) {
  (void)stream;
  *context = &g_object[0];
  return kSuccess;
}

EXPORT int cuGetErrorName(int error, const char** text) {
  (void)error;
  *text = "emulated";
  return kSuccess;
}

EXPORT int cuGetErrorString(int error, const char** text) {
  (void)error;
  *text = "emulated";
  return kSuccess;
}

EXPORT int cuLibraryLoadData(void** library) {
  *library = &g_object[1];
  return kSuccess;
}

EXPORT int cuLibraryLoadFromFile(void** library) {
  *library = &g_object[1];
  return kSuccess;
}

EXPORT int cuLibraryUnload(void* library) {
  (void)library;
  return kSuccess;
}

EXPORT int cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  (void)library;
  (void)name;
  *kernel = &g_object[2];
  return kSuccess;
}

/* Asked for since cuDNN 9.26. */
EXPORT int cuKernelGetFunction(void** function, void* kernel) {
  *function = kernel;
  return kSuccess;
}

EXPORT int cuKernelGetAttribute(int* value, int attribute, void* kernel, int device) {
  (void)attribute;
  (void)kernel;
  (void)device;
  *value = 0;
  return kSuccess;
}

EXPORT int cuKernelSetAttribute(int attribute, int value, void* kernel, int device) {
  (void)attribute;
  (void)value;
  (void)kernel;
  (void)device;
  return kSuccess;
}

EXPORT int cuLinkCreate(unsigned count, void* options, void** values, void** state) {
  (void)count;
  (void)options;
  (void)values;
  *state = &g_object[3];
  return kSuccess;
}

EXPORT int cuLinkAddData(void) { return kSuccess; }

EXPORT int cuLinkComplete(void* state, void** binary, size_t* size) {
  (void)state;
  *binary = &g_object[4];
  *size = 0;
  return kSuccess;
}

EXPORT int cuLinkDestroy(void* state) {
  (void)state;
  return kSuccess;
}

EXPORT int cuOccupancyMaxPotentialClusterSize(int* size, void* function, const void* config) {
  (void)function;
  (void)config;
  *size = 8;
  return kSuccess;
}

EXPORT int cuLaunchKernel(void) { return kSuccess; }
EXPORT int cuLaunchKernelEx(void) { return kSuccess; }
EXPORT int cuLaunchCooperativeKernel(void) { return kSuccess; }

/* ---- passed on to the main namespace's C library ---- */

static struct planner_bridge_host g_host;

EXPORT void planner_bridge_adopt(const struct planner_bridge_host* host) { g_host = *host; }

EXPORT int pthread_key_create(unsigned* key, void (*destructor)(void*)) {
  return g_host.key_create ? g_host.key_create(key, destructor) : EAGAIN;
}

/* libstdc++ refers to the old name to learn whether the program has threads. */
EXPORT int __pthread_key_create(unsigned* key, void (*destructor)(void*)) {
  return pthread_key_create(key, destructor);
}

EXPORT int pthread_key_delete(unsigned key) {
  return g_host.key_delete ? g_host.key_delete(key) : EINVAL;
}

EXPORT void* pthread_getspecific(unsigned key) {
  return g_host.get_specific ? g_host.get_specific(key) : NULL;
}

EXPORT int pthread_setspecific(unsigned key, const void* value) {
  return g_host.set_specific ? g_host.set_specific(key, value) : EINVAL;
}
