"""Environment variables of torch that parent and child both know."""

from __future__ import annotations

# torch 2.15 reads its allocator's setting from the first of these that is set; see
# c10/core/AllocatorConfig.cpp. Other versions use another order, and 2.6 knows only the first.
ALLOC_CONF = "PYTORCH_CUDA_ALLOC_CONF"
ALLOC_CONF_VARIABLES = (ALLOC_CONF, "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
