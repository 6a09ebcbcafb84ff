#include "cudnn_workspace_model.h"
namespace emulated::cudnn::model {
size_t workspace_bytes(const Node&) { return 0; }
}
