"""The environment of a child: that of this process, with what the emulated card needs.

In: this process's variables. Out: those of the child. The user's code sees the same variables as
without planner, except those named here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from planner.wire.variables import ALLOC_CONF_VARIABLES

# These variables would switch PyTorch's allocator off.
_ALLOCATOR_SWITCHES = ("PYTORCH_NO_CUDA_MEMORY_CACHING", "PYTORCH_NO_HIP_MEMORY_CACHING")


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Returns this environment with the changes that the emulated card needs, then `extra`."""
    environment = dict(os.environ)
    # The emulated card is the only one that the child may see.
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    for name in _ALLOCATOR_SWITCHES:
        environment.pop(name, None)
    if any(name in extra for name in ALLOC_CONF_VARIABLES):
        for name in ALLOC_CONF_VARIABLES:
            environment.pop(name, None)
    # Out of memory is a result here, not a warning of the allocator on the terminal.
    environment["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    environment["PYTHONHASHSEED"] = "0"  # the same run gives the same bytes
    # torch.compile would start helper processes without the emulated device.
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    environment.update(extra)
    return environment
