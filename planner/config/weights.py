"""The dtypes of a model's weights, and the precision of a run that was asked for none.

In: what the child reports of the parameters. Out: WeightDtype, settled StepConfigs. Sizes are bytes
as the parameters lie in memory; a dtype is named as in torch.bfloat16, without "torch.".
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
    """As in torch.bfloat16, without "torch."; of quantised ones what is stored."""
    elements: int
    """Elements of all of them."""
    size_bytes: int
    """Bytes of all of them."""


def settled(config: StepConfig, weights: Sequence[WeightDtype]) -> StepConfig:
    """`config` with the precision that its run had: fp32 where all weights are float32.

    Only a precision that was not asked for is settled; the run is the same with it.
    """
    if config.precision is not None:
        return config
    is_single = all(one.dtype in _SINGLE for one in weights)
    return replace(config, precision=Precision.FP32 if is_single else Precision.AS_BUILT)


def are_mainly_float32(weights: Sequence[WeightDtype]) -> bool:
    """Whether most of the floating-point weights are float32; True where there are none."""
    floating = [one for one in weights if one.dtype.startswith(_FLOATING)]
    single = sum(one.elements for one in floating if one.dtype in _SINGLE)
    return 2 * single >= sum(one.elements for one in floating)
