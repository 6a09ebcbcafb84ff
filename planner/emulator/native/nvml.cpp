// NVML of the emulated cards. PyTorch asks it whether it works (its expandable segments fail without
// an answer); scripts and engines ask which cards there are, before CUDA is started, and what they
// hold. The real library would speak of this machine's cards.
//
// What an emulated card has not - temperature, power, clocks, load - is zero, and noted.
#include <cstdio>
#include <cstring>
#include <string>

#include "device.h"
#include "memory.h"
#include "properties.h"
#include "status.h"

namespace {
using namespace emulated;

// nvmlReturn_t.
constexpr int kSuccess = 0;
constexpr int kInvalidArgument = 2;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kInsufficientSize = 7;

// The structures of nvml.h, by its documentation.
struct Memory {
  unsigned long long total, free, used;
};
struct MemoryV2 {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
struct PciInfo {
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
struct Utilization {
  unsigned gpu, memory;
};

// A handle is the address of the card's entry.
char cards[kMaxDevices];

int index_of(const void* handle) {
  for (int i = 0; i < profile().device_count; i++) {
    if (handle == &cards[i]) return i;
  }
  return -1;
}

int give_handle(int index, void** handle) {
  if (index < 0 || index >= profile().device_count) return kNotFound;
  *handle = &cards[index];
  return kSuccess;
}

int give_text(const std::string& text, char* out, unsigned size) {
  if (text.size() >= size) return kInsufficientSize;
  memcpy(out, text.c_str(), text.size() + 1);
  return kSuccess;
}

std::string uuid_text(int device) {
  const CUuuid uuid = device_uuid(device);
  std::string text = "GPU-";
  for (int i = 0; i < 16; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char byte[3];
    snprintf(byte, sizeof byte, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += byte;
  }
  return text;
}

int no_sensor(const void* handle, unsigned* value) {
  if (index_of(handle) < 0) return kInvalidArgument;
  note("nvml-sensor");
  *value = 0;
  return kSuccess;
}
}  // namespace

EXPORT int nvmlInit_v2() { return kSuccess; }
EXPORT int nvmlInit() { return kSuccess; }
EXPORT int nvmlInitWithFlags(unsigned) { return kSuccess; }
EXPORT int nvmlShutdown() { return kSuccess; }
EXPORT const char* nvmlErrorString(int status) {
  switch (status) {
    case kSuccess:
      return "Success";
    case kInvalidArgument:
      return "Invalid Argument";
    case kNotSupported:
      return "Not Supported";
    case kNotFound:
      return "Not Found";
    case kInsufficientSize:
      return "Insufficient Size";
    default:
      return "Unknown Error";
  }
}

EXPORT int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(profile().device_count);
  return kSuccess;
}
EXPORT int nvmlDeviceGetCount(unsigned* count) { return nvmlDeviceGetCount_v2(count); }

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  return give_handle(static_cast<int>(index), handle) == kSuccess ? kSuccess : kInvalidArgument;
}
EXPORT int nvmlDeviceGetHandleByIndex(unsigned index, void** handle) {
  return nvmlDeviceGetHandleByIndex_v2(index, handle);
}
EXPORT int nvmlDeviceGetHandleByUUID(const char* uuid, void** handle) {
  for (int i = 0; i < profile().device_count; i++) {
    if (uuid_text(i) == uuid) return give_handle(i, handle);
  }
  return kNotFound;
}
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char* text, void** handle) {
  return give_handle(device_at_pci_bus(text), handle);
}
EXPORT int nvmlDeviceGetHandleByPciBusId(const char* text, void** handle) {
  return nvmlDeviceGetHandleByPciBusId_v2(text, handle);
}

EXPORT int nvmlDeviceGetIndex(const void* handle, unsigned* index) {
  const int found = index_of(handle);
  if (found < 0) return kInvalidArgument;
  *index = static_cast<unsigned>(found);
  return kSuccess;
}
EXPORT int nvmlDeviceGetMinorNumber(const void* handle, unsigned* number) {
  return nvmlDeviceGetIndex(handle, number);
}
EXPORT int nvmlDeviceGetName(const void* handle, char* name, unsigned size) {
  return index_of(handle) < 0 ? kInvalidArgument : give_text(profile().name, name, size);
}
EXPORT int nvmlDeviceGetUUID(const void* handle, char* uuid, unsigned size) {
  const int index = index_of(handle);
  return index < 0 ? kInvalidArgument : give_text(uuid_text(index), uuid, size);
}
EXPORT int nvmlDeviceGetPciInfo_v3(const void* handle, PciInfo* info) {
  const int index = index_of(handle);
  if (index < 0) return kInvalidArgument;
  *info = {};
  info->bus = static_cast<unsigned>(pci_bus(index));
  snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "0000:%02X:00.0", info->bus);
  snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", info->bus);
  return kSuccess;
}
EXPORT int nvmlDeviceGetCudaComputeCapability(const void* handle, int* major, int* minor) {
  if (index_of(handle) < 0) return kInvalidArgument;
  *major = profile().major;
  *minor = profile().minor;
  return kSuccess;
}

EXPORT int nvmlDeviceGetMemoryInfo(const void* handle, Memory* memory) {
  const int index = index_of(handle);
  if (index < 0) return kInvalidArgument;
  memory->total = profile().total_memory_bytes;
  memory->free = free_bytes(index);
  memory->used = memory->total - memory->free;
  return kSuccess;
}
EXPORT int nvmlDeviceGetMemoryInfo_v2(const void* handle, MemoryV2* memory) {
  Memory found;
  if (const int status = nvmlDeviceGetMemoryInfo(handle, &found); status != kSuccess) return status;
  memory->total = found.total;
  memory->reserved = 0;
  memory->free = found.free;
  memory->used = found.used;
  return kSuccess;
}
// None: a failure here would make PyTorch warn at every out-of-memory error.
EXPORT int nvmlDeviceGetComputeRunningProcesses(void*, unsigned* count, void*) {
  *count = 0;
  return kSuccess;
}
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* count, void*) {
  *count = 0;
  return kSuccess;
}

EXPORT int nvmlDeviceGetUtilizationRates(const void* handle, Utilization* rates) {
  rates->memory = 0;
  return no_sensor(handle, &rates->gpu);
}
EXPORT int nvmlDeviceGetTemperature(const void* handle, int, unsigned* celsius) {
  return no_sensor(handle, celsius);
}
EXPORT int nvmlDeviceGetPowerUsage(const void* handle, unsigned* milliwatts) {
  return no_sensor(handle, milliwatts);
}
EXPORT int nvmlDeviceGetClockInfo(const void* handle, int, unsigned* mhz) {
  return no_sensor(handle, mhz);
}

EXPORT int nvmlDeviceGetNvLinkRemoteDeviceType(void*, unsigned, int*) { return kNotSupported; }
EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(void*, unsigned, void*) { return kNotSupported; }
EXPORT int nvmlDeviceGetP2PStatus(const void* one, const void* other, int, int*) {
  return index_of(one) < 0 || index_of(other) < 0 ? kInvalidArgument : kNotSupported;
}
EXPORT int nvmlDeviceGetNumaNodeId(const void*, unsigned*) { return kNotSupported; }
EXPORT int nvmlDeviceGetCpuAffinity(const void*, unsigned, unsigned long*) { return kNotSupported; }
EXPORT int nvmlSystemGetDriverVersion(char*, unsigned) { return kNotSupported; }
EXPORT int nvmlSystemGetCudaDriverVersion(int*) { return kNotSupported; }
EXPORT int nvmlSystemGetCudaDriverVersion_v2(int*) { return kNotSupported; }
