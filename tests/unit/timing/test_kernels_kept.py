"""Kernels of a record are found once for all cards; another record is not mistaken for it."""

from __future__ import annotations

from dataclasses import replace

from planner.hardware.database import load_gpus
from planner.timing.roofline import gpu_time
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape


def product(rows: int) -> OperatorRecord:
    """(rows, 64) x (64, 32)."""
    left, right, result = (
        TensorShape(shape=shape, dtype="float32") for shape in ((rows, 64), (64, 32), (rows, 32))
    )
    return OperatorRecord(
        name="aten::mm",
        phase=Phase.FORWARD,
        inputs=(left, right),
        outputs=(result,),
        calls=3,
        flops=2 * rows * 64 * 32,
        flop_source=FlopSource.FORMULA,
        read_bytes=4 * (rows * 64 + 64 * 32),
        written_bytes=4 * rows * 32,
    )


def test_a_copy_takes_the_same_time_and_another_record_its_own() -> None:
    card = load_gpus().find("t4").spec
    record = product(1 << 16)
    first = gpu_time([record], card)
    assert gpu_time([record], card) == first
    assert gpu_time([replace(record)], card) == first
    assert gpu_time([replace(record, calls=6)], card).total_s == 2 * first.total_s
    assert gpu_time([product(1 << 18)], card).total_s > 3 * first.total_s


def test_records_that_are_gone_leave_nothing_behind() -> None:
    """An identity is used again: 200 records in a row, each alone, each with its own time."""
    card = load_gpus().find("t4").spec
    times = [gpu_time([product(4096 * (1 + index))], card).total_s for index in range(200)]
    assert times == sorted(times)
    assert len(set(times)) > 100
