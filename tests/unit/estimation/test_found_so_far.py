"""What progress says of a card before its report is there."""

from __future__ import annotations

import pytest

from planner.estimation.found_so_far import largest_found, peak_found
from planner.estimation.probes import Axis, SearchAxis
from planner.estimation.size_axes import FramesAxis, ImageAxis
from planner.memory.budget import memory_budgets
from planner.memory.largest import LargestValue, Method
from planner.memory.search import Capacity
from planner.units import GIB
from planner.wire.trace import RunOutcome, StepTrace


def trace(outcome: RunOutcome) -> StepTrace:
    return StepTrace(
        outcome=outcome, batch_size=8, peak_allocated_bytes=GIB, peak_active_bytes=GIB,
        peak_reserved_bytes=2 * GIB,
    )  # fmt: skip


def largest(size: int, *, is_bound: bool = False, has_no_limit: bool = False) -> LargestValue:
    return LargestValue(
        capacity=Capacity(largest=size, is_bound=is_bound, probes=()),
        method=Method.REPLAY,
        is_confirmed=True,
        has_no_limit=has_no_limit,
    )


def test_the_peak_is_that_of_the_report() -> None:
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    assert budget.device_total_bytes(2 * GIB) == 2 * GIB + GIB // 2
    ended = trace(RunOutcome.COMPLETED)
    assert peak_found(budget, ended, fits=True) == "peak 2.50 GiB of 79.1 GiB, fits"
    assert peak_found(budget, ended, fits=False) == "peak 2.50 GiB of 79.1 GiB, does not fit"


def test_a_run_that_did_not_end_has_no_peak() -> None:
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    assert peak_found(budget, trace(RunOutcome.OUT_OF_MEMORY), fits=False) == "does not fit"


@pytest.mark.parametrize(
    ("axis", "found", "words"),
    [
        (SearchAxis.BATCH, largest(965), "largest batch 965"),
        (SearchAxis.BATCH, largest(64, is_bound=True), "largest batch 64 or more"),
        (SearchAxis.BATCH, largest(0), "not even batch 1 fits"),
        (SearchAxis.BATCH, largest(64, has_no_limit=True), ""),
        (SearchAxis.SEQUENCE, largest(3), "largest sequence length 384"),
        (ImageAxis(height=512, width=512, unit=64), largest(3), "largest image 192x192"),
        (ImageAxis(height=512, width=512, unit=64), largest(0), "not even image 64x64 fits"),
        (FramesAxis(frames=17, unit=8), largest(3), "largest number of frames 17"),
    ],
)
def test_the_largest_value_is_said_with_what_is_known(
    axis: Axis, found: LargestValue, words: str
) -> None:
    assert largest_found(axis, found) == words
