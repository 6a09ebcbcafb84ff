"""Which batches are counted by a run, and which are told from others."""

from __future__ import annotations

import pytest

from planner.errors import ModelError
from planner.estimation.batch_counts import BatchCounts
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.trace import Counts, FlopSource, OperatorRecord, Phase, TensorShape


def counted(batch: int, *, merged: tuple[int, ...] = (), own_kernel: bool = False) -> ModelCounts:
    """One operator of 4 bytes for each sample; at `merged` it is called twice."""
    record = OperatorRecord(
        name=f"aten::op{batch}" if own_kernel else "aten::relu",
        phase=Phase.FORWARD,
        inputs=(TensorShape(shape=(batch,), dtype="float32"),),
        outputs=(TensorShape(shape=(batch,), dtype="float32"),),
        calls=2 if batch in merged else 1,
        flops=None,
        flop_source=FlopSource.ELEMENTWISE,
        read_bytes=4 * batch,
        written_bytes=4 * batch,
    )
    return ModelCounts(
        counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
        step=StepCounts(forward_flops_per_sample=1, step_flops=0, activations_per_sample=None),
        modules=(),
        structure=Structure.WHOLE_MODEL,
        flop_rules=FlopRules.FVCORE,
        forward_flops_by_torch=1,
        build_on="cpu",
        operators=(record,),
    )


def test_two_batches_are_counted_for_all() -> None:
    counts = BatchCounts(counted, asked=8)
    for batch in (1, 2, 8, 24, 1000):
        assert counts.at(batch) == counted(batch)
    assert counts.counted_batches == (8, 24)
    assert counts.at(1000) is counts.at(1000)


def test_the_batch_asked_for_alone_takes_one_run() -> None:
    counts = BatchCounts(counted, asked=8)
    counts.at(8)
    assert counts.counted_batches == (8,)


def test_a_sample_that_differs_is_replaced_by_a_third() -> None:
    counts = BatchCounts(lambda batch: counted(batch, merged=(3,)), asked=1)
    assert counts.at(100) == counted(100)
    assert counts.counted_batches == (1, 3, 5)


def test_where_every_batch_differs_each_is_counted() -> None:
    counts = BatchCounts(lambda batch: counted(batch, own_kernel=True), asked=2)
    assert counts.at(7) == counted(7, own_kernel=True)
    assert counts.counted_batches == (2, 6, 10, 7)


def test_a_batch_that_fails_says_so() -> None:
    def count(batch: int) -> ModelCounts:
        raise ModelError(f"no batch {batch}")

    with pytest.raises(ModelError, match="no batch 4"):
        BatchCounts(count, asked=4).at(4)


def test_a_sample_that_fails_says_nothing_of_other_batches() -> None:
    """A model for batches up to 16: of 8, 24 and 40 only the first can be counted."""
    asked = []

    def count(batch: int) -> ModelCounts:
        asked.append(batch)
        if batch > 16:
            raise ModelError(f"no batch {batch}")
        return counted(batch)

    counts = BatchCounts(count, asked=8)
    assert counts.at(16) == counted(16)
    assert counts.at(4) == counted(4)
    assert asked == [8, 24, 40, 16, 4]  # what failed is not asked again
    with pytest.raises(ModelError, match="no batch 32"):
        counts.at(32)


def test_one_sample_that_fails_is_replaced_by_a_third() -> None:
    def count(batch: int) -> ModelCounts:
        if batch == 3:
            raise ModelError("no batch 3")
        return counted(batch)

    counts = BatchCounts(count, asked=1)
    assert counts.at(100) == counted(100)
    assert counts.counted_batches == (1, 5)
