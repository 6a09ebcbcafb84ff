"""Operators at a third batch, from two: sizes by hand, and what follows no rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimation.operator_scaling import Counted, counts_at
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.trace import Counts, FlopSource, OperatorRecord, Phase, TensorShape


def shape(*sizes: int, dtype: str = "float32") -> TensorShape:
    return TensorShape(shape=sizes, dtype=dtype)


def record(
    name: str,
    inputs: list[TensorShape],
    output: TensorShape,
    *,
    flops: int | None = None,
    moved: tuple[int, int] = (0, 0),
    calls: int = 1,
) -> OperatorRecord:
    source = FlopSource.ELEMENTWISE if flops is None else FlopSource.FORMULA
    return OperatorRecord(
        name=name,
        phase=Phase.FORWARD,
        inputs=tuple(inputs),
        outputs=(output,),
        calls=calls,
        flops=flops,
        flop_source=source,
        read_bytes=moved[0],
        written_bytes=moved[1],
    )


def counts(*operators: OperatorRecord, batch_bytes: int = 0) -> ModelCounts:
    flops = sum(one.total_flops for one in operators)
    return ModelCounts(
        counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
        step=StepCounts(forward_flops_per_sample=1, step_flops=flops, activations_per_sample=None),
        modules=(),
        structure=Structure.WHOLE_MODEL,
        flop_rules=FlopRules.FVCORE,
        forward_flops_by_torch=1,
        build_on="cpu",
        operators=operators,
        batch_tensors_bytes=(batch_bytes,),
    )


def linear(batch: int) -> OperatorRecord:
    """(B, 3) x (3, 5): 2 x B x 3 x 5 FLOPs; 4 bytes for each element."""
    return record(
        "aten::mm",
        [shape(batch, 3), shape(3, 5)],
        shape(batch, 5),
        flops=30 * batch,
        moved=(4 * (3 * batch + 15), 20 * batch),
    )


def similarity(batch: int) -> OperatorRecord:
    """(B, 4) x (4, B): as contrastive losses have it, 8 B^2 FLOPs and 4 B^2 bytes."""
    return record(
        "aten::mm",
        [shape(batch, 4), shape(4, batch)],
        shape(batch, batch),
        flops=8 * batch * batch,
        moved=(32 * batch, 4 * batch * batch),
    )


def lookup(batch: int) -> OperatorRecord:
    """B indices into 10 rows of 8 floats: rows are read once each, so 320 bytes at the most."""
    return record(
        "aten::embedding",
        [shape(10, 8), shape(batch, dtype="int64")],
        shape(batch, 8),
        moved=(8 * batch + min(320, 32 * batch), 32 * batch),
    )


def at(one: ModelCounts, other: ModelCounts, batch: int) -> ModelCounts | None:
    """From batches 2 and 6."""
    return counts_at(Counted(batch_size=2, counts=one), Counted(batch_size=6, counts=other), batch)


@given(st.integers(min_value=1, max_value=5000))
def test_every_batch_of_a_known_step(batch: int) -> None:
    def step(size: int) -> ModelCounts:
        operators = linear(size), similarity(size), lookup(size)
        return counts(*operators, batch_bytes=12 * size)

    assert at(step(2), step(6), batch) == step(batch)


def test_a_product_of_two_sizes_is_no_line() -> None:
    """A line through 8 x 4 and 8 x 36 FLOPs would give 8 x 84 at batch 12, of 8 x 144."""
    found = at(counts(similarity(2)), counts(similarity(6)), 12)
    assert found is not None
    assert found.operators[0].flops == 8 * 144
    assert found.operators[0].written_bytes == 4 * 144
    assert found.step.step_flops == 8 * 144


def test_what_does_not_depend_on_the_batch_stays() -> None:
    weights = record("aten::_foreach_add_", [shape(3, 5)], shape(3, 5), moved=(60, 60), calls=7)
    found = at(counts(linear(2), weights), counts(linear(6), weights), 100)
    assert found is not None
    assert found.operators[1] is weights
    assert found.operators[0] == linear(100)


@pytest.mark.parametrize(
    "other",
    [
        counts(),
        counts(linear(6), linear(6)),
        counts(replace(linear(6), name="aten::addmm")),
        counts(replace(linear(6), calls=2)),
        counts(replace(linear(6), phase=Phase.BACKWARD)),
        counts(replace(linear(6), inputs=(shape(6, 3, dtype="float16"), shape(3, 5)))),
        counts(replace(linear(6), inputs=(shape(6, 1, 3), shape(3, 5)))),
    ],
    ids=["none", "more", "name", "calls", "phase", "dtype", "dimensions"],
)
def test_another_structure_is_none(other: ModelCounts) -> None:
    assert at(counts(linear(2)), other, 12) is None


def test_a_size_that_is_not_whole_is_none() -> None:
    """Half the batch: 1 at 2 and 3 at 6, but nothing at 5."""

    def half(size: int) -> OperatorRecord:
        return record("aten::relu", [shape(size, 1)], shape(size, 1), moved=(4 * size, 4 * size))

    assert at(counts(half(1)), counts(half(3)), 4) == counts(half(2))
    assert at(counts(half(1)), counts(half(3)), 5) is None


def test_two_sizes_that_grow_without_a_formula_are_none() -> None:
    """Attention over the batch: FLOPs of no product that is known here."""

    def square(size: int) -> OperatorRecord:
        other = shape(size, size)
        return record("aten::new", [other], other, flops=size**3, moved=(1, 1))

    assert at(counts(square(2)), counts(square(6)), 12) is None
