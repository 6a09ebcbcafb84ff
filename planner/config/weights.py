"""The dtypes of a model's weights, and the precision of a run for which none was requested.

In: the child's report of the parameters. Out: WeightDtype, settled StepConfigs. Sizes are bytes of
the parameters in memory; a dtype is named as in torch.bfloat16, without "torch.".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.config.step import Precision, StepConfig

_SINGLE = ("float32", "complex64")
_FLOATING = ("float", "bfloat", "complex")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDtype:
    """The parameters of one dtype."""

    dtype: str
    """As in torch.bfloat16, without "torch."; for quantised weights the dtype that is stored."""
    elements: int
    """Elements of all these parameters."""
    size_bytes: int
    """Bytes of all these parameters."""


def settled(config: StepConfig, weights: Sequence[WeightDtype]) -> StepConfig:
    """Returns `config` with the precision of its run: fp32 if all weights are float32.

    Sets only a precision that was not requested; the run stays the same.
    """
    if config.precision is not None:
        return config
    is_single = all(one.dtype in _SINGLE for one in weights)
    return replace(config, precision=Precision.FP32 if is_single else Precision.AS_BUILT)


def are_mainly_float32(weights: Sequence[WeightDtype]) -> bool:
    """Returns whether most of the floating-point weights are float32; True if there are none."""
    floating = [one for one in weights if one.dtype.startswith(_FLOATING)]
    single = sum(one.elements for one in floating if one.dtype in _SINGLE)
    return 2 * single >= sum(one.elements for one in floating)
