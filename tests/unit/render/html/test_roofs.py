"""The roofline of a page: points, roofs and rows by hand, and a reason where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.hardware.link_specs import Collective
from planner.render.html.facts import estimate_facts
from planner.render.html.roofs import chart_of, lead_of, roofline_or_why, rows_of
from planner.results.estimate import Estimate
from planner.results.ranks import RankRow, RanksResult
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.timed_operators import TimedMessage, TimedOperator, TimedOperators
from planner.units import format_bytes
from planner.wire.communication import CollectiveRecord
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape

WIDE = TensorShape(shape=(1024, 1024), dtype="bfloat16")
MATMUL = OperatorRecord(
    name="aten::mm", phase=Phase.FORWARD, inputs=(WIDE, WIDE), outputs=(WIDE,), calls=4,
    flops=2 * 1024**3, flop_source=FlopSource.FORMULA,
    read_bytes=2 * 2 * 1024**2, written_bytes=2 * 1024**2,
)  # fmt: skip
ADD = OperatorRecord(
    name="aten::add", phase=Phase.FORWARD, inputs=(WIDE, WIDE), outputs=(WIDE,), calls=1,
    flops=None, flop_source=FlopSource.ELEMENTWISE,
    read_bytes=2 * 2 * 1024**2, written_bytes=2 * 1024**2,
)  # fmt: skip


def timed(record: OperatorRecord, seconds: float) -> TimedOperator:
    return TimedOperator(
        operator=record, compute_s=seconds, bandwidth_s=0.0, fixed_s=0.0, kernels=record.calls,
        source=TimeSource.FIT,
    )  # fmt: skip


@pytest.fixture
def kept(estimate: Estimate) -> Estimate:
    entry = replace(estimate.gpus[0], id="a100-sxm4-80gb", requested="a100")
    found = TimedOperators(micro_batches=1, operators=(timed(MATMUL, 3e-5), timed(ADD, 1e-5)))
    return replace(estimate, gpus=(entry,), operators=(found,))


def test_a_point_has_counted_flops_and_predicted_seconds(kept: Estimate) -> None:
    chart = chart_of(roofline_or_why(kept, 0))
    (point,) = chart["points"]
    assert point["x"] == 2 * 1024**3 / (6 * 1024**2)
    assert point["y"] == pytest.approx(4 * 2 * 1024**3 / 3e-5)
    assert point["share"] == pytest.approx(0.75)
    assert chart["slope"] == pytest.approx(2039e9, rel=1e-3)  # NVIDIA's data sheet
    assert [roof["y"] for roof in chart["roofs"]] == [pytest.approx(312e12)]


def test_the_table_and_the_words_have_the_same_figures(kept: Estimate) -> None:
    found = roofline_or_why(kept, 0)
    (row,) = rows_of(found)
    assert row[:4] == ("aten::mm", "forward", "4", "341")
    assert row[4:] == ("286 TFLOP/s", "30.0 us", "75 %")
    assert "they take 25 % of the time" in lead_of(found)
    assert "312 TFLOP/s" in lead_of(found)


def test_without_operators_it_says_how_to_have_them(estimate: Estimate) -> None:
    found = roofline_or_why(replace(estimate, operators=()), 0)
    assert rows_of(found) == []
    assert chart_of(found)["points"] == []
    assert "--save FILE" in lead_of(found)


def test_messages_between_ranks_are_listed_longest_first(kept: Estimate) -> None:
    def message(kind: Collective, calls: int, seconds: float) -> TimedMessage:
        record = CollectiveRecord(
            collective=kind, group="dp_shard", ranks=16, hosts=2, phase=Phase.BACKWARD,
            size_bytes=4 << 20, calls=calls,
        )  # fmt: skip
        return TimedMessage(message=record, message_s=seconds)

    sent = (message(Collective.ALL_GATHER, 2, 1e-3), message(Collective.REDUCE_SCATTER, 4, 2e-3))
    (found,) = kept.operators
    assert found is not None
    row = RankRow(role="all", first=0, last=15)
    ranks = RanksResult(worst=0, reason="all are alike", rows=(row,))
    page = estimate_facts(replace(kept, operators=(replace(found, messages=sent),), ranks=ranks))
    (shown,) = page["ranks"]["rows"]  # all are as the one of the report
    assert shown["allocated"] == format_bytes(kept.gpus[0].peak_allocated_bytes)
    assert shown["reserved"] == format_bytes(kept.gpus[0].peak_reserved_bytes)
    assert page["ranks"]["messages"] == [
        ("reduce-scatter", "dp_shard, 16 ranks on 2 machines", "backward", "4.00 MiB", "4",
         "2.00 ms", "8.00 ms"),
        ("all-gather", "dp_shard, 16 ranks on 2 machines", "backward", "4.00 MiB", "2",
         "1.00 ms", "2.00 ms"),
    ]  # fmt: skip
