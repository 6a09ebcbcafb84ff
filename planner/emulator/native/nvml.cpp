// NVML, as far as PyTorch asks it: whether it works and which card has a PCI address. Without an
// answer PyTorch's expandable segments fail; the real library would speak of this machine's cards.
#include "device.h"

namespace {
constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;  // NVML_ERROR_NOT_SUPPORTED
}  // namespace

EXPORT int nvmlInit_v2() { return kSuccess; }
EXPORT int nvmlInit() { return kSuccess; }
EXPORT int nvmlShutdown() { return kSuccess; }
EXPORT int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(emulated::profile().device_count);
  return kSuccess;
}
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char*, void** device) {
  static int card;
  *device = &card;
  return kSuccess;
}
EXPORT int nvmlDeviceGetNvLinkRemoteDeviceType(void*, unsigned, int*) { return kNotSupported; }
EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(void*, unsigned, void*) { return kNotSupported; }
// None: a failure here would make PyTorch warn at every out-of-memory error.
EXPORT int nvmlDeviceGetComputeRunningProcesses(void*, unsigned* count, void*) {
  *count = 0;
  return kSuccess;
}
EXPORT int nvmlSystemGetCudaDriverVersion_v2(int*) { return kNotSupported; }
