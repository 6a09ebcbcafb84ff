// Reductions of what ranks have sent, computed where all of it is known.
#pragma once

#include <vector>

#include <nccl.h>

#include "contents.h"

namespace emulated {

// Of an element; 0 for a type that is not known here.
size_t bytes_of_type(ncclDataType_t type);

// Known once all parts are. Unknown if one of them is, for floats of 16 bits or less, and for
// operations that the program has made (ncclRedOpCreatePreMulSum).
ContentPointer reduced_content(std::vector<ContentPointer> parts, ncclDataType_t type,
                               ncclRedOp_t operation);

}  // namespace emulated
