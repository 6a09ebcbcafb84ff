"""What a change makes of a kernel: half the bytes where autocast reaches, layouts of images."""

from __future__ import annotations

import pytest

from planner.timing.changes import in_channels_last, in_half
from planner.timing.kernels import Kernel, KernelKind, Pass
from planner.wire.trace import Phase


def kernel(kind: KernelKind, dtype: str = "float32") -> Kernel:
    return Kernel(kind=kind, part=Pass.FORWARD, dtype=dtype, flops=100, moved_bytes=80)


@pytest.mark.parametrize("kind", [KernelKind.MATMUL, KernelKind.CONVOLUTION, KernelKind.COPY])
def test_autocast_halves_the_bytes(kind: KernelKind) -> None:
    found = in_half(kernel(kind), Phase.FORWARD, "bfloat16")
    assert (found.dtype, found.moved_bytes, found.flops) == ("bfloat16", 40, 100)


@pytest.mark.parametrize(
    ("kind", "dtype", "phase"),
    [
        pytest.param(KernelKind.SOFTMAX, "float32", Phase.FORWARD, id="softmax"),
        pytest.param(KernelKind.NORM, "float32", Phase.BACKWARD, id="norm"),
        pytest.param(KernelKind.OPTIMIZER, "float32", Phase.OPTIMIZER_STEP, id="optimizer"),
        pytest.param(KernelKind.ELEMENTWISE, "float32", Phase.OPTIMIZER_STEP, id="plain step"),
        pytest.param(KernelKind.MATMUL, "float16", Phase.FORWARD, id="half already"),
        pytest.param(KernelKind.LOOKUP, "int64", Phase.FORWARD, id="indices"),
    ],
)
def test_what_autocast_leaves_is_left(kind: KernelKind, dtype: str, phase: Phase) -> None:
    given = kernel(kind, dtype)
    assert in_half(given, phase, "bfloat16") is given


def test_channels_last_is_a_matter_of_images() -> None:
    assert in_channels_last(kernel(KernelKind.CONVOLUTION)).channels_last
    assert in_channels_last(kernel(KernelKind.BATCH_NORM)).channels_last
    assert not in_channels_last(kernel(KernelKind.MATMUL)).channels_last
