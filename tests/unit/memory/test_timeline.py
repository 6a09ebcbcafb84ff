"""Timelines of lists written by hand: levels, categories, phases, and another batch."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.levels import Levels, replay_levels
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import requests_of
from planner.memory.peak import breakdown
from planner.memory.recorded_batches import RecordedBatches
from planner.memory.sample_parts import Sample
from planner.memory.scaling import ScaledRequests, fit
from planner.memory.timeline import (
    PhaseSpan,
    Timeline,
    recorded_timeline,
    scaled_timeline,
)
from planner.units import MIB
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)

SETTINGS = parse_alloc_conf("", "2.14.1")
PARAMETER, ACTIVATION = TensorCategory.PARAMETER, TensorCategory.SAVED_ACTIVATION
WORKSPACE, GRADIENT = TensorCategory.WORKSPACE, TensorCategory.GRADIENT
ORIGINS = (Origin(), Origin(tensor="weight"), Origin(operator="aten::relu"))


def alloc(block: int, size_bytes: int, category: TensorCategory, origin: int) -> AllocationEvent:
    is_first = category is PARAMETER
    return AllocationEvent(
        kind=EventKind.ALLOC,
        block=block,
        size_bytes=size_bytes,
        step=0 if is_first else 1,
        phase=Phase.BUILD if is_first else Phase.FORWARD,
        category=category,
        origin=origin,
    )


def free(block: int, phase: Phase = Phase.BACKWARD) -> AllocationEvent:
    return AllocationEvent(kind=EventKind.FREE, block=block, size_bytes=0, step=1, phase=phase)


def step(batch: int, *, with_scratch: bool = True) -> AllocationTrace:
    """A weight of 3 MiB, scratch of 700 bytes, 2 MiB a sample until there is a gradient."""
    scratch = [alloc(7, 700, WORKSPACE, 2), free(7, Phase.FORWARD)] if with_scratch else []
    events = [
        alloc(0, 3 * MIB, PARAMETER, 1),
        *scratch,
        alloc(1, batch * 2 * MIB, ACTIVATION, 2),
        replace(alloc(2, 3 * MIB, GRADIENT, 1), step=1, phase=Phase.BACKWARD),
        free(1),
    ]
    return AllocationTrace(events=tuple(events), origins=ORIGINS)


def levels(trace: AllocationTrace, capacity_bytes: int = WITHOUT_LIMIT_BYTES) -> Levels:
    return replay_levels(tuple(requests_of(trace.events)), SETTINGS, capacity_bytes=capacity_bytes)


def replayed(batch: int) -> Timeline:
    return recorded_timeline(step(batch), levels(step(batch)))


def test_levels_are_those_after_each_request() -> None:
    found = levels(step(1))
    # The weight takes 3 of a segment of 20 MiB, the activation 2 more; scratch has a small segment.
    assert found.allocated_bytes == (
        3 * MIB, 3 * MIB + 1024, 3 * MIB, 5 * MIB, 8 * MIB, 6 * MIB,
    )  # fmt: skip
    assert found.reserved_bytes == (20 * MIB, *(22 * MIB,) * 5)
    assert found.result.peak_allocated_bytes == max(found.allocated_bytes)
    assert found.result.peak_reserved_bytes == max(found.reserved_bytes)


def test_a_replay_that_ends_early_has_the_levels_until_then() -> None:
    found = levels(step(40), capacity_bytes=24 * MIB)
    assert found.result.out_of_memory is not None
    assert found.result.out_of_memory.request_index == 3
    assert len(found.allocated_bytes) == 3 + 1  # and those that the failing request found
    assert recorded_timeline(step(40), found).peak_allocated_bytes == 3 * MIB + 1024


def test_categories_add_up_to_allocated_memory() -> None:
    found = replayed(1)
    by_category = found.by_category()
    assert list(by_category) == [PARAMETER, GRADIENT, ACTIVATION, WORKSPACE]
    assert by_category[ACTIVATION] == (0, 0, 0, 2 * MIB, 2 * MIB, 0)
    assert by_category[WORKSPACE] == (0, 1024, 0, 0, 0, 0)
    assert tuple(map(sum, zip(*by_category.values(), strict=True))) == found.allocated_bytes


def test_the_peak_is_that_of_the_breakdown() -> None:
    for timeline in (replayed(4), recorded_timeline(step(4))):
        assert timeline.peak_allocated_bytes == breakdown(step(4)).total()
        assert timeline.peak_index == 4
        assert sum(size for _, size in timeline.live_at(4)) == timeline.peak_allocated_bytes
        assert [event.block for event, _ in timeline.live_at(4)] == [0, 1, 2]


def test_without_a_replay_reserved_memory_is_not_known() -> None:
    assert recorded_timeline(step(1)).reserved_bytes == ()


def test_sizes_that_the_allocator_took_count() -> None:
    trace = step(1)
    wide = replace(trace.events[0], block_bytes=3 * MIB + 512)
    found = recorded_timeline(replace(trace, events=(wide, *trace.events[1:])))
    assert found.changes_bytes[0] == 3 * MIB + 512


def test_phases_follow_each_other_without_gaps() -> None:
    assert replayed(1).phases() == (
        PhaseSpan(step=0, phase=Phase.BUILD, begin=0, end=1),
        PhaseSpan(step=1, phase=Phase.FORWARD, begin=1, end=4),
        PhaseSpan(step=1, phase=Phase.BACKWARD, begin=4, end=6),
    )


def test_another_batch_has_the_purposes_of_the_recorded_one() -> None:
    trace = step(2)
    recorded = Sample(value=2, requests=tuple(requests_of(trace.events)))
    other = step(5)
    found = scaled_timeline(trace, recorded, tuple(requests_of(other.events)), levels(other))
    assert found.changes_bytes == replayed(5).changes_bytes
    assert found.by_category() == replayed(5).by_category()
    assert [event.origin for event in found.events[:4]] == [1, 2, 0, 2]  # a free has none
    assert found.phases()[0] == PhaseSpan(step=0, phase=Phase.BUILD, begin=0, end=1)


def test_scratch_that_the_recorded_run_lacks_is_workspace() -> None:
    trace, other = step(2, with_scratch=False), step(5)
    recorded = Sample(value=2, requests=tuple(requests_of(trace.events)))
    found = scaled_timeline(trace, recorded, tuple(requests_of(other.events)), levels(other))
    assert found.by_category()[WORKSPACE] == (0, 1024, 0, 0, 0, 0)


def test_kept_batches_give_every_batch_again() -> None:
    samples = [
        Sample(value=batch, requests=tuple(requests_of(step(batch).events))) for batch in (2, 3)
    ]
    fitted = fit(samples)
    assert isinstance(fitted, ScaledRequests)
    again = RecordedBatches.of(fitted).scaled()
    assert again == fitted
    assert again.at(9) == fitted.at(9)
    too_few = RecordedBatches.of(replace(fitted, samples=tuple(samples[:1])))
    assert too_few.scaled() is None


def test_changes_are_differences_of_levels() -> None:
    found = replayed(3)
    assert tuple(accumulate(found.changes_bytes)) == levels(step(3)).allocated_bytes
