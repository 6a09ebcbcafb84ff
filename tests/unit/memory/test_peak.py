"""Breakdowns of event lists written by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from planner.memory.peak import Breakdown, breakdown
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)

WEIGHT, FIRST, SECOND, LOSS = 1, 2, 3, 4
ORIGINS = (
    Origin(),
    Origin(module="blocks.0.attention", tensor="weight"),
    Origin(module="blocks.0.mlp", operator="aten::linear", source="model.py:7"),
    Origin(module="blocks.1.mlp", operator="aten::gelu", source="model.py:9"),
    Origin(operator="aten::cross_entropy_loss", source="model.py:20"),
)


def alloc(block: int, size_bytes: int, phase: Phase, step: int, **more: Any) -> AllocationEvent:
    return AllocationEvent(
        kind=EventKind.ALLOC, block=block, size_bytes=size_bytes, phase=phase, step=step, **more
    )


def free(event: AllocationEvent, phase: Phase, step: int, **more: Any) -> AllocationEvent:
    changes: dict[str, Any] = {"kind": EventKind.FREE, "phase": phase, "step": step, **more}
    return dataclasses.replace(event, **changes)


PARAMETER = alloc(
    0, 4000, Phase.BUILD, 0, category=TensorCategory.PARAMETER, origin=WEIGHT, block_bytes=4096
)
SAVED = alloc(1, 1025, Phase.FORWARD, 1, category=TensorCategory.SAVED_ACTIVATION, origin=FIRST)
SCRATCH = alloc(2, 10_000, Phase.FORWARD, 1, category=TensorCategory.TEMPORARY, origin=SECOND)
RESULT = alloc(3, 2048, Phase.LOSS, 1, category=TensorCategory.SAVED_ACTIVATION, origin=LOSS)
BIG = alloc(
    4, 11_000, Phase.BACKWARD, 2, category=TensorCategory.TEMPORARY, origin=SECOND,
    block_bytes=20_480,
)  # fmt: skip
EVENTS = (
    PARAMETER,
    SAVED,
    SCRATCH,  # 4096 + 1536 + 10240 = 15872
    free(SCRATCH, Phase.FORWARD, 1),
    RESULT,  # 7680
    BIG,  # 28160
    free(SAVED, Phase.BACKWARD, 2),
    free(BIG, Phase.BACKWARD, 2),
)


@pytest.fixture
def peak() -> Breakdown:
    return breakdown(AllocationTrace(events=EVENTS, origins=ORIGINS))


def test_the_live_set_is_that_of_the_highest_moment(peak: Breakdown) -> None:
    assert [block.size_bytes for block in peak.held] == [4000, 1025, 2048, 11_000]
    assert peak.total() == 4096 + 1536 + 2048 + 20_480
    assert (peak.peak_step, peak.peak_phase) == (2, Phase.BACKWARD)


def test_sizes_round_up_to_512_and_the_rest_of_a_block_is_rounding(peak: Breakdown) -> None:
    assert peak.by_category() == {
        "temporary": 11_264,
        "rounding": 20_480 - 11_264,
        "parameter": 4096,
        "saved activation": 1536 + 2048,
    }


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, {"blocks": 26_112, "": 2048}),
        (2, {"blocks.1": 20_480, "blocks.0": 5632, "": 2048}),
        (
            None,
            {"blocks.1.mlp": 20_480, "blocks.0.attention": 4096, "": 2048, "blocks.0.mlp": 1536},
        ),
    ],
    ids=str,
)
def test_by_module(peak: Breakdown, depth: int | None, expected: dict[str, int]) -> None:
    assert peak.by_module(depth) == expected
    assert list(peak.by_module(depth)) == list(expected)  # the largest first


def test_by_operator_and_by_phase(peak: Breakdown) -> None:
    assert peak.by_operator() == {
        "aten::gelu": 20_480, "": 4096, "aten::cross_entropy_loss": 2048, "aten::linear": 1536,
    }  # fmt: skip
    assert peak.by_phase() == {"backward": 20_480, "build": 4096, "loss": 2048, "forward": 1536}


def test_every_query_sums_up_to_the_total(peak: Breakdown) -> None:
    for sums in (peak.by_category(), peak.by_module(1), peak.by_operator(), peak.by_phase()):
        assert sum(sums.values()) == peak.total()


def test_the_largest_come_with_their_lines(peak: Breakdown) -> None:
    largest = peak.largest(2)
    assert [block.size_bytes for block in largest] == [11_000, 4000]
    assert largest[0].origin.source == "model.py:9"


def test_first_step_against_steady_step(peak: Breakdown) -> None:
    assert peak.step_peak_bytes == (15_872, 28_160)
    assert peak.first_step_peak_bytes == 15_872
    assert peak.steady_step_peak_bytes == 28_160


def test_a_step_begins_with_what_the_last_one_left() -> None:
    events = (SCRATCH, free(SCRATCH, Phase.BETWEEN_STEPS, 2), dataclasses.replace(SAVED, step=2))
    peak = breakdown(AllocationTrace(events=events, origins=ORIGINS))
    assert peak.step_peak_bytes == (10_240, 10_240)
    assert (peak.peak_step, peak.peak_phase) == (1, Phase.FORWARD)


def test_the_first_of_equal_peaks_is_taken() -> None:
    again = dataclasses.replace(SCRATCH, block=9, phase=Phase.LOSS)
    events = (SCRATCH, free(SCRATCH, Phase.LOSS, 1), again)
    assert breakdown(AllocationTrace(events=events, origins=ORIGINS)).peak_phase is Phase.FORWARD


def test_memory_is_free_when_it_is_given_back_not_when_another_stream_is_done() -> None:
    events = (
        SCRATCH,
        free(SCRATCH, Phase.FORWARD, 1, kind=EventKind.FREE_REQUESTED),
        SAVED,
        free(SCRATCH, Phase.FORWARD, 1, kind=EventKind.FREE_COMPLETED),
        AllocationEvent(kind=EventKind.EMPTY_CACHE, block=0, size_bytes=0, step=1),
        RESULT,
    )
    assert breakdown(AllocationTrace(events=events, origins=ORIGINS)).total() == 10_240


def test_what_torch_counted_beyond_the_events_is_shown() -> None:
    trace = AllocationTrace(events=(SAVED, RESULT), origins=ORIGINS)
    peak = breakdown(trace, peak_allocated_bytes=5000, peak_reserved_bytes=9000)
    assert peak.uncounted_bytes == 5000 - 3584
    assert peak.fragmentation_bytes == 4000
    assert peak.total() == 5000
    assert peak.unattributed_bytes == 5000 - 3584
    for sums in (peak.by_category(), peak.by_module(), peak.by_operator(), peak.by_phase()):
        assert sum(sums.values()) == 5000
        assert sums["rounding"] == 5000 - 3584


def test_unattributed_bytes() -> None:
    unknown = dataclasses.replace(SCRATCH, category=TensorCategory.UNATTRIBUTED)
    peak = breakdown(AllocationTrace(events=(SAVED, unknown), origins=ORIGINS))
    assert peak.unattributed_bytes == 10_240


def test_nothing_asked_for() -> None:
    peak = breakdown(AllocationTrace(events=()))
    assert (peak.total(), peak.by_category(), peak.largest()) == (0, {}, ())
    assert peak.first_step_peak_bytes is None
    assert peak.steady_step_peak_bytes is None
    assert peak.fragmentation_bytes is None
