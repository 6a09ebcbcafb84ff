"""Counts of a generation: the prompt once, and each later token as the mean of two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.estimation.generation.counts import generated_counts
from planner.wire.call_order import CallOrder
from planner.wire.module_counts import (
    FlopRules,
    ModelCounts,
    SerialPart,
    StepCounts,
    Structure,
)
from planner.wire.trace import Counts, OperatorRecord
from tests.unit.operator_records import operator, tensor

LAYERS = 4


def product(rows: int, calls: int) -> OperatorRecord:
    return operator(
        "mm", (tensor(rows, 8), tensor(8, 8)), (tensor(rows, 8),), flops=2 * rows * 64, calls=calls
    )


def attention(length: int) -> OperatorRecord:
    return operator("cat", (tensor(length, 8),), (tensor(length + 1, 8),), calls=LAYERS)


def counts(*records: OperatorRecord) -> ModelCounts:
    calls = [place for place, one in enumerate(records) for _ in range(one.calls)]
    return ModelCounts(
        counts=Counts(parameters=64, trainable_parameters=64, buffers=0),
        step=StepCounts(
            forward_flops_per_sample=0,
            step_flops=sum(one.total_flops for one in records),
            activations_per_sample=None,
        ),
        modules=(),
        structure=Structure.WHOLE_MODEL,
        flop_rules=FlopRules.FVCORE,
        forward_flops_by_torch=0,
        build_on="meta",
        operators=records,
        order=CallOrder(operators=tuple(calls), views=(1,) * len(calls)),
    )


PROMPT = counts(product(20, LAYERS))
FIRST = counts(product(20, LAYERS), product(2, LAYERS), attention(10))
BEFORE = counts(product(40, LAYERS))
LAST = counts(product(40, LAYERS), product(2, LAYERS), attention(18))


def test_all_tokens_have_the_calls_of_as_many_means() -> None:
    found = generated_counts(PROMPT, FIRST, BEFORE, LAST, tokens=11, batch_size=2)
    # ten passes: five as the first one, five as the last one
    assert found.operators == (
        product(20, LAYERS),
        product(2, 5 * LAYERS),
        replace(attention(10), calls=5 * LAYERS),
        product(2, 5 * LAYERS),
        replace(attention(18), calls=5 * LAYERS),
    )
    assert found.serial_parts == (
        SerialPart(operators=1, passes=1),
        SerialPart(operators=4, passes=10),
    )
    by_hand = LAYERS * 2 * 64 * (20 + 10 * 2)
    assert found.step.step_flops == by_hand
    assert found.step.forward_flops_per_sample == by_hand / 2


def test_a_call_too_few_is_not_lost() -> None:
    found = generated_counts(PROMPT, FIRST, BEFORE, LAST, tokens=10, batch_size=1)
    assert [one.calls for one in found.operators[1:]] == [9 * LAYERS // 2] * 4


@pytest.mark.parametrize("tokens", [10, 100, 10_000])
def test_views_are_as_many_as_calls_and_the_order_stays_short(tokens: int) -> None:
    found = generated_counts(PROMPT, FIRST, BEFORE, LAST, tokens=tokens, batch_size=1)
    assert sum(found.order.views) == LAYERS + (tokens - 1) * 2 * LAYERS
    assert len(found.order.operators) == LAYERS + 1
