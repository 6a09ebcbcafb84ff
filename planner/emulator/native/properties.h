// One answer to "what is attribute N of this card" for the runtime and the driver API.
#pragma once

#include <cuda.h>

namespace emulated {

// The value of cudaDeviceAttr / CUdevice_attribute number `attribute`; 0 where it does not apply.
int device_attribute(int attribute);

// How the card is told from others, the same for the runtime, the driver and NVML.
CUuuid device_uuid(int device);
int pci_bus(int device);
// The card at an address like "0000:01:00.0"; -1: none.
int device_at_pci_bus(const char* text);

}  // namespace emulated
