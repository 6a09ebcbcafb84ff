"""Timelines of a result at the batch of the run and at others; and where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import UsageError
from planner.memory.allocator.replay import requests_of
from planner.memory.recorded_batches import RecordedBatches
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.results.estimate import Estimate
from planner.results.saved_file import load
from planner.results.timelines import timelines_of
from planner.units import MIB
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Phase,
    TensorCategory,
)

CONTEXT, USABLE = 500 * MIB, 1000 * MIB  # 500 MiB for tensors: 200 of weights, 20 a sample
RUN, LARGEST = 4, 15


def step(batch: int) -> AllocationTrace:
    def alloc(block: int, size_bytes: int, category: TensorCategory) -> AllocationEvent:
        return AllocationEvent(
            kind=EventKind.ALLOC,
            block=block,
            size_bytes=size_bytes,
            step=1,
            phase=Phase.FORWARD,
            category=category,
        )

    free = AllocationEvent(kind=EventKind.FREE, block=1, size_bytes=0, step=1)
    return AllocationTrace(
        events=(
            alloc(0, 200 * MIB, TensorCategory.PARAMETER),
            alloc(1, batch * 20 * MIB, TensorCategory.SAVED_ACTIVATION),
            alloc(2, 2 * MIB, TensorCategory.GRADIENT),
            free,
        )
    )


def fitted(*batches: int) -> ScaledRequests:
    found = fit([Sample(value=b, requests=tuple(requests_of(step(b).events))) for b in batches])
    assert isinstance(found, ScaledRequests)
    return found


def reserved(batch: int) -> int:
    """Segments of their own for what has 10 MiB or more, and one of 20 MiB for the gradient."""
    return (200 + 20 * batch + 20) * MIB


@pytest.fixture
def kept(estimate: Estimate) -> Estimate:
    entry = replace(
        estimate.gpus[0],
        peak_allocated_bytes=(200 + 20 * RUN + 2) * MIB,
        peak_reserved_bytes=reserved(RUN),
        usable_memory_bytes=USABLE,
        context_overhead_bytes=CONTEXT,
        reserve_bytes=0,
        outside_bytes=0,
        reserved_offset_bytes=0,
        fits=True,
        max_batch_size=14,
        suggested_batch_size=12,
    )
    return replace(
        estimate,
        config=replace(estimate.config, batch_size=RUN),
        gpus=(entry, *estimate.gpus[1:]),
        allocations=(step(RUN), None),
        batches=(RecordedBatches.of(fitted(RUN, 8)), None),
        allocator_setting="",
        versions=replace(estimate.versions, torch="2.14.1"),
    )


def test_the_run_has_the_figures_of_the_report(kept: Estimate) -> None:
    found = timelines_of(kept).at(RUN)
    entry = kept.gpus[0]
    assert found.peak_allocated_bytes == entry.peak_allocated_bytes
    assert found.timeline.peak_allocated_bytes == entry.peak_allocated_bytes
    assert max(found.timeline.reserved_bytes) == entry.peak_reserved_bytes
    assert found.device_total_bytes == entry.device_total_bytes
    assert found.fits


@pytest.mark.parametrize(("batch", "fits"), [(2, True), (14, True), (15, False), (100, False)])
def test_another_batch_by_hand(kept: Estimate, batch: int, fits: bool) -> None:
    found = timelines_of(kept).at(batch)
    assert found.peak_allocated_bytes == (202 + 20 * batch) * MIB
    assert found.timeline.peak_allocated_bytes == found.peak_allocated_bytes
    assert found.peak_reserved_bytes == reserved(batch)
    assert found.device_total_bytes == reserved(batch) + CONTEXT
    assert found.fits is fits


def test_batches_to_show_have_those_of_the_report_and_the_first_that_fails(kept: Estimate) -> None:
    found = timelines_of(kept).batches()
    assert {2, RUN, 12, 14, 15} <= set(found)
    assert list(found) == sorted(found)
    assert found[-1] == 15


def test_a_batch_of_one_is_not_known_without_a_run(kept: Estimate) -> None:
    found = timelines_of(kept)
    assert 1 not in found.batches()
    with pytest.raises(UsageError, match=r"batch 1 is not in this result.*--batch 1"):
        found.at(1)


def test_a_saved_file_gives_the_same_timelines(kept: Estimate, tmp_path: Path) -> None:
    kept.save(tmp_path / "a.planner")
    again = load(tmp_path / "a.planner")
    assert isinstance(again, Estimate)
    assert again == kept
    assert timelines_of(again).at(9) == timelines_of(kept).at(9)


def test_without_recordings_it_says_how_to_have_them(estimate: Estimate) -> None:
    with pytest.raises(UsageError, match="--save FILE"):
        timelines_of(estimate)


def test_a_setting_without_replay_shows_the_run_alone(kept: Estimate) -> None:
    other = replace(kept, allocator_setting="backend:cudaMallocAsync")
    found = timelines_of(other)
    assert found.batches() == (RUN,)
    figures = found.at(RUN)
    assert figures.timeline.peak_allocated_bytes == kept.gpus[0].peak_allocated_bytes
    assert figures.timeline.reserved_bytes == ()
    with pytest.raises(UsageError, match="setting cannot be replayed"):
        found.at(8)


def test_a_replay_with_other_peaks_is_not_shown(kept: Estimate) -> None:
    entry = replace(kept.gpus[0], peak_reserved_bytes=reserved(RUN) + 2 * MIB)
    found = timelines_of(replace(kept, gpus=(entry,)))
    assert found.batches() == (RUN,)
    assert "does not give its peaks" in found.alone_because


def test_batches_that_were_run_for_the_picture_are_shown_as_they_ran(kept: Estimate) -> None:
    odd = Sample(value=7, requests=tuple(requests_of(step(70).events)))  # no rule gives that
    batches = (RecordedBatches.of(fitted(RUN, 8), [odd]), None)
    found = timelines_of(replace(kept, batches=batches))
    with pytest.raises(UsageError, match="batch 7 is not in"):  # it does not fit by a replay
        found.at(7)
    odd = replace(odd, requests=tuple(requests_of(step(11).events)))
    found = timelines_of(replace(kept, batches=(RecordedBatches.of(fitted(RUN, 8), [odd]), None)))
    assert 7 in found.batches()
    assert found.at(7).peak_allocated_bytes == (202 + 20 * 11) * MIB
    assert found.at(9).peak_allocated_bytes == (202 + 20 * 9) * MIB


def test_without_a_search_the_run_alone(kept: Estimate) -> None:
    found = timelines_of(replace(kept, batches=()))
    assert found.batches() == (RUN,)
    assert "not searched" in found.alone_because
    assert max(found.at(RUN).timeline.reserved_bytes) == reserved(RUN)
