// One answer to "what is attribute N of this card" for the runtime and the driver API.
#pragma once

namespace emulated {

// The value of cudaDeviceAttr / CUdevice_attribute number `attribute`; 0 where it does not apply.
int device_attribute(int attribute);

}  // namespace emulated
