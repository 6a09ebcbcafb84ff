"""Changes the kernels of a step, to find what would make it faster.

In: Kernels. Out: the kernels that the same step would launch after a change. Convention: a change
is approximate: it does not run the step again, and gives an estimate of the gain.
"""

from __future__ import annotations

from dataclasses import replace

from planner.timing.kernels import OF_IMAGES, Kernel, KernelKind
from planner.wire.trace import Phase

# Autocast keeps these in float32, as it does all of the optimizer
# (https://docs.pytorch.org/docs/stable/amp.html, "CUDA Ops that can autocast to float32").
_STAY_FLOAT32 = (KernelKind.NORM, KernelKind.GROUP_NORM, KernelKind.SOFTMAX, KernelKind.OPTIMIZER)


def in_half(kernel: Kernel, phase: Phase, dtype: str) -> Kernel:
    """Returns the kernel under autocast to `dtype`: half the bytes, the rates of that dtype."""
    if kernel.dtype != "float32" or kernel.kind in _STAY_FLOAT32 or phase is Phase.OPTIMIZER_STEP:
        return kernel
    return replace(kernel, dtype=dtype, moved_bytes=kernel.moved_bytes // 2)


def in_channels_last(kernel: Kernel) -> Kernel:
    """Returns the kernel with weights and images in channels_last."""
    return replace(kernel, channels_last=True) if kernel.kind in OF_IMAGES else kernel
