// Sizes of cuDNN's element types.
#pragma once

#include <cudnn.h>

#include <cstddef>

namespace emulated::cudnn {

// Bytes of one element; the packed INT8x4 and INT8x32 types count per element of the packed vector.
inline size_t element_bytes(int type) {
  switch (type) {
    case CUDNN_DATA_DOUBLE:
    case CUDNN_DATA_INT64:
      return 8;
    case CUDNN_DATA_FLOAT:
    case CUDNN_DATA_INT32:
      return 4;
    case CUDNN_DATA_HALF:
    case CUDNN_DATA_BFLOAT16:
      return 2;
    default:
      return 1;
  }
}

}  // namespace emulated::cudnn
