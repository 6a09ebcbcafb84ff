"""What torch runs on Hopper, by the figures of the FlashAttention 3 paper.

In: benchmarks/measurements/flash_attention_3.csv. Out: share, first keys and spread of cuDNN and of
FlashAttention 2. Convention: TFLOP/s as papers count them: causal ones are half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.kernels.least_squares import Vector, fitted
from benchmarks.kernels.records import card_named
from benchmarks.record.rows import MEASUREMENTS, rows
from planner.timing.measured.attention import BACKWARD_PRODUCTS, HOPPER_FORM, call_s
from planner.timing.measured.attention_form import Work, busy_s

PUBLISHED = MEASUREMENTS / "flash_attention_3.csv"
CARD = "h100-sxm5-80gb"
_ACROSS_SPREAD = 0.1  # more than the figures show: of another version of the libraries


def torch_on_hopper() -> dict[str, dict[str, dict[str, list[float]]]]:
    """Returns share, first keys and spread of cuDNN and FlashAttention 2 on an H100.

    Of causal calls with a width that was published without a mask alone: that width's share, by
    the ratio of both masks' at 128.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {"cudnn": {}, "flash": {}}
    for row in rows(PUBLISHED):
        if row["library"] in found:
            part = "backward" if row["pass"] == "backward" else row["mask"]
            by_width = found[row["library"]].setdefault(part, {})
            by_width[row["head_width"]] = _of_published(row)
    for masks in found.values():
        causal, whole = masks["causal"], masks["whole"]
        ratio = causal["128"][0] / whole["128"][0]
        share, _, spread = whole["64"]
        causal["64"] = [
            round(share * ratio, 4), causal["128"][1], round(math.hypot(spread, _ACROSS_SPREAD), 3)
        ]  # fmt: skip
    return found


def _of_published(row: Mapping[str, str]) -> list[float]:
    """Fits share and first keys to one row: TFLOP/s of 16384 tokens, 2048 wide, by length."""
    card = card_named(CARD)
    is_backward = row["pass"] == "backward"
    peak = card.peak_flops_per_s.bf16
    assert peak is not None
    works = [published_work(row, length) for length in PUBLISHED_LENGTHS]
    rates = [float(row[str(length)]) * 1e12 for length in PUBLISHED_LENGTHS]
    seconds = [
        flops(one, is_backward=is_backward) / rate for one, rate in zip(works, rates, strict=True)
    ]

    def residuals(at: Vector) -> Vector:
        form = replace(HOPPER_FORM, share=math.exp(at[0]), first_keys=math.exp(at[1]))
        errors = []
        for work, measured in zip(works, seconds, strict=True):
            compute_s, memory_s, around_s = call_s(
                form, work, card, flops_per_s=peak, is_backward=is_backward
            )
            predicted_s = busy_s(form, compute_s, memory_s) + around_s
            errors.append(math.log(predicted_s / measured))
        return np.array(errors)

    bounds = np.log(np.array([[0.05, 1.0], [1.0, 2000.0]]))
    _, at = fitted(residuals, np.log(np.array([0.5, 100.0])), bounds[0], bounds[1])
    spread = float(np.sqrt(np.mean(residuals(at) ** 2)))
    return [
        round(math.exp(at[0]), 4),
        round(math.exp(at[1]), 1),
        round(math.hypot(spread, _ACROSS_SPREAD), 3),
    ]


PUBLISHED_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
_TOKENS, _HIDDEN = 16384, 2048  # of the FlashAttention 3 paper, section 4.1


def published_work(row: Mapping[str, str], length: int) -> Work:
    """Returns the call of a published figure."""
    width = int(row["head_width"])
    heads = _HIDDEN // width
    return Work(
        batch=_TOKENS // length,
        heads=heads,
        key_heads=heads,
        queries=length,
        keys=length,
        width=width,
        is_causal=row["mask"] == "causal",
    )


def flops(work: Work, *, is_backward: bool) -> float:
    """Returns the FLOPs as papers count them: causal ones are half."""
    whole = 4 * work.batch * work.heads * work.queries * work.keys * work.width
    part = whole / 2 if work.is_causal else float(whole)
    return part * BACKWARD_PRODUCTS if is_backward else part
