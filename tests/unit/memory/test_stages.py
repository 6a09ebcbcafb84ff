"""The peak of each stage, from hand-written events."""

from __future__ import annotations

from planner.memory.stages import StagePeak, stage_peaks
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    StageMark,
    TensorCategory,
)

KIB = 1024


def alloc(
    block: int, kib: int, category: TensorCategory = TensorCategory.TEMPORARY
) -> AllocationEvent:
    return AllocationEvent(
        kind=EventKind.ALLOC, block=block, size_bytes=kib * KIB, category=category
    )


def free(
    block: int, kib: int, category: TensorCategory = TensorCategory.TEMPORARY
) -> AllocationEvent:
    return AllocationEvent(
        kind=EventKind.FREE, block=block, size_bytes=kib * KIB, category=category
    )


WEIGHTS = TensorCategory.PARAMETER


def test_each_stage_has_its_highest_moment() -> None:
    events = (
        alloc(0, 8, WEIGHTS),
        alloc(1, 2), free(1, 2),  # encoder: 10
        alloc(2, 4), free(2, 4),  # unet: 12
        alloc(3, 6), free(3, 6),  # unet again: 14
        free(0, 8, WEIGHTS), alloc(4, 1),  # vae: 8 at its beginning, then 1
    )  # fmt: skip
    trace = AllocationTrace(
        events=events,
        stages=(
            StageMark(event=1, stage="encoder"),
            StageMark(event=3, stage="unet"),
            StageMark(event=7, stage="vae"),
        ),
    )
    assert stage_peaks(trace) == (
        StagePeak(stage="encoder", peak_bytes=10 * KIB, weights_bytes=8 * KIB),
        StagePeak(stage="unet", peak_bytes=14 * KIB, weights_bytes=8 * KIB),
        StagePeak(stage="vae", peak_bytes=8 * KIB, weights_bytes=8 * KIB),
    )


def test_a_stage_without_events_has_what_is_alive() -> None:
    trace = AllocationTrace(events=(alloc(0, 3),), stages=(StageMark(event=1, stage="vae"),))
    assert stage_peaks(trace) == (StagePeak(stage="vae", peak_bytes=3 * KIB, weights_bytes=0),)


def test_a_trace_without_stages_has_none() -> None:
    assert stage_peaks(AllocationTrace(events=(alloc(0, 1),))) == ()
