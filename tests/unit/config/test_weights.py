"""The precision of a run that was asked for none, from the dtypes of its weights."""

from __future__ import annotations

import pytest

from planner.config.step import Precision, StepConfig
from planner.config.weights import WeightDtype, are_mainly_float32, settled


def weights(**elements: int) -> tuple[WeightDtype, ...]:
    sizes = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "complex64": 8, "uint8": 1}
    return tuple(
        WeightDtype(dtype=dtype, elements=number, size_bytes=number * sizes[dtype])
        for dtype, number in elements.items()
    )


@pytest.mark.parametrize(
    ("there", "precision"),
    [
        (weights(float32=8), Precision.FP32),
        (weights(float32=8, complex64=8), Precision.FP32),
        ((), Precision.FP32),
        (weights(bfloat16=8), Precision.AS_BUILT),
        (weights(float32=8, bfloat16=1), Precision.AS_BUILT),
        (weights(float32=8, uint8=1), Precision.AS_BUILT),
        (weights(float64=8), Precision.AS_BUILT),
    ],
    ids=str,
)
def test_without_a_precision_the_weights_decide(
    there: tuple[WeightDtype, ...], precision: Precision
) -> None:
    assert settled(StepConfig(), there) == StepConfig(precision=precision)


@pytest.mark.parametrize("precision", Precision)
def test_what_was_asked_for_stays(precision: Precision) -> None:
    config = StepConfig(precision=precision)
    assert settled(config, weights(float16=8)) is config
    assert config.precision_name == precision.value


@pytest.mark.parametrize(
    ("there", "mainly"),
    [
        ((), True),
        (weights(float32=8), True),
        (weights(float32=8, float16=7), True),
        (weights(float32=7, float16=8), False),
        (weights(float64=8), False),
        (weights(uint8=100, float32=8, float16=1), True),
    ],
    ids=str,
)
def test_which_dtype_most_weights_have(there: tuple[WeightDtype, ...], mainly: bool) -> None:
    assert are_mainly_float32(there) is mainly
