"""What would make a step faster: changes to its kernels, and the time with them.

In: Kernels. Out: the kernels that the same step would launch after a change. Convention: a change
is approximate: it does not run the step again, and says about how much is gained.
"""

from __future__ import annotations

from dataclasses import replace

from planner.timing.kernels import OF_IMAGES, Kernel, KernelKind
from planner.wire.trace import Phase

# Autocast keeps these in float32, as it does all of the optimizer
# (https://docs.pytorch.org/docs/stable/amp.html, "CUDA Ops that can autocast to float32").
_STAY_FLOAT32 = (KernelKind.NORM, KernelKind.SOFTMAX, KernelKind.OPTIMIZER)


def in_half(kernel: Kernel, phase: Phase, dtype: str) -> Kernel:
    """The kernel under autocast to `dtype`: half the bytes, and the rates of that dtype."""
    if kernel.dtype != "float32" or kernel.kind in _STAY_FLOAT32 or phase is Phase.OPTIMIZER_STEP:
        return kernel
    return replace(kernel, dtype=dtype, moved_bytes=kernel.moved_bytes // 2)


def in_channels_last(kernel: Kernel) -> Kernel:
    """The kernel with weights and images in channels_last."""
    return replace(kernel, channels_last=True) if kernel.kind in OF_IMAGES else kernel
