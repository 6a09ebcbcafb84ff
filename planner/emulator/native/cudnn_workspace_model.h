// Workspace of a cuDNN plan where the library itself cannot be asked.
#pragma once

#include <cstddef>

#include "cudnn_node.h"

namespace emulated::cudnn::model {

// Bytes that a plan for this operation graph asks for, estimated; leans to more rather than less.
size_t workspace_bytes(const Node& operation_graph);

}  // namespace emulated::cudnn::model
