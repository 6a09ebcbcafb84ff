"""Computes the model FLOPs utilization (MFU) of a step on a card.

In: ModelCounts, GpuSpec, seconds. Out: a share, from 0 to 1. Convention: the FLOPs are those of
matrix products, convolutions, attention and recurrent layers in forward and backward, without what
backward computes again (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311, appendix B); the
peak is the published one of the dtype in which most of them are done, dense.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from planner.hardware.specs import ArithmeticRates, GpuSpec
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import OperatorRecord

_RATES = {
    "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8",
    "float32": "fp32", "float64": "fp64",
}  # fmt: skip


def utilization(
    counted: ModelCounts, card: GpuSpec, *, seconds: float, micro_batches: int
) -> float | None:
    """Returns the MFU of an optimizer step of `micro_batches` in `seconds`, all of this rank.

    None: nothing with FLOPs was counted, or the peak of the dtype is not known.
    """
    flops = micro_batches * (counted.step.step_flops - counted.step.recomputed_flops)
    peak = _peak(counted.operators, card.peak_flops_per_s, tf32=counted.tf32_matmul)
    if peak is None or flops <= 0 or seconds <= 0:
        return None
    return flops / (seconds * peak)


def _peak(
    operators: Iterable[OperatorRecord], rates: ArithmeticRates, *, tf32: bool
) -> float | None:
    """Returns the FLOP/s of the dtype with most FLOPs; `tf32`: float32 products may be rounded."""
    by_dtype: Counter[str] = Counter()
    for one in operators:
        if one.total_flops and one.inputs:
            by_dtype[one.inputs[0].dtype] += one.total_flops
    if not by_dtype:
        return None
    ((dtype, _),) = by_dtype.most_common(1)
    if dtype == "float32" and tf32 and rates.tf32 is not None:
        return rates.tf32
    found: float | None = None if dtype not in _RATES else getattr(rates, _RATES[dtype])
    return found
