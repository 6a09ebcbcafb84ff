"""Answers for one card: the run without a limit, the run on the full card, the largest batch.

In: the card's budget and the step's setup. Out: DeviceMemory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from planner.config.options import FOUND_BEFORE
from planner.emulator.profile import UNLIMITED_BYTES
from planner.errors import LibraryError, ModelError
from planner.estimation.alloc_conf import what_ifs
from planner.estimation.context import RunContext, side_by_side
from planner.estimation.drawn_runs import drawn_runs
from planner.estimation.found_so_far import largest_found, peak_found
from planner.estimation.largest_search import AxisSearch, RecordedStep, recorded_run
from planner.estimation.probes import Axis, ProbeRuns, SearchAxis
from planner.estimation.size_axes import SizeAxis
from planner.memory.allocator.replay import Request
from planner.memory.budget import MemoryBudget
from planner.memory.largest import LargestValue
from planner.memory.peak import Breakdown
from planner.memory.search import Capacity
from planner.results.device_estimate import WhatIf
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.units import format_bytes
from planner.wire.trace import AllocationTrace, EventKind, RunOutcome, StepTrace

_FINISHING = "finishing its figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The answer for one card; `batch` is None when no largest batch was requested.

    `sequence` is the longest sequence at the requested batch, in units of SearchAxis.SEQUENCE; None
    where no length was given. `sizes` are axes of an image or clip with their largest values.
    `breakdown` and `allocations` are of the run in `trace`, None where that could not be recorded.
    `requests` are those of the run without a limit to the allocator,
    empty where it could not be recorded. `batch_1` is the run of batch 1 without a limit, where no
    batch fits and another was requested. `empties_cache`: how often the model's code gave cached
    memory back. `values` are those that the run in `trace` read; where drawn numbers decided its
    sizes, `reserved_spread` is peak reserved of other draws over that of this run, least and
    greatest.
    """

    budget: MemoryBudget
    trace: StepTrace
    fits: bool
    batch: LargestValue | None = None
    sequence: LargestValue | None = None
    sizes: tuple[tuple[SizeAxis, LargestValue], ...] = ()
    breakdown: Breakdown | None = None
    allocations: AllocationTrace | None = None
    requests: tuple[Request, ...] = ()
    batch_1: StepTrace | None = None
    what_ifs: tuple[WhatIf, ...] = ()
    empties_cache: int = 0
    values: ValuesResult = NO_VALUES_READ
    reserved_spread: tuple[float, float] = (1.0, 1.0)

    @property
    def batch_capacity(self) -> Capacity | None:
        """Returns the largest batch; None where it was not searched, or no memory depends on it."""
        return None if self.batch is None else self.batch.limited


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemorySearch:
    """Makes the runs of one card."""

    setup: RunContext
    budget: MemoryBudget

    def answer(self, search: bool, *, sequence: bool = True) -> DeviceMemory:
        """Runs the step; with `search` searches the largest batch, with `sequence` its length too.

        Raises:
            ModelError: the user's code raised for the requested batch.
            ChildError: the run was killed or took too long.
        """
        setup = self.setup
        setup.progress(f"{self.budget.requested}: batch {setup.config.batch_size}")
        free = recorded_run(setup.runner, setup.cards.unlimited(self.budget), setup.config)
        if free.trace.outcome is RunOutcome.MODEL_ERROR:
            raise model_error(free.trace)
        budget = setup.with_outside(self.budget, free.trace)
        return replace(self, budget=budget)._answer(free, search, sequence)

    def _answer(self, free: RecordedStep, search: bool, sequence: bool) -> DeviceMemory:
        setup = self.setup
        if free.trace.outcome is RunOutcome.OUT_OF_MEMORY:
            fits, held = False, RecordedStep(trace=beyond_all_cards(free.trace))
        else:
            fits, held = self._on_full_card(free)
        axes: list[Axis] = [SearchAxis.BATCH] if search else []
        if search and sequence and setup.config.sequence_length is not None:
            axes.append(SearchAxis.SEQUENCE)
        axes += setup.size_axes
        following = f"searching the largest {axes[0].label}" if axes else _FINISHING
        self._say(peak_found(self.budget, held.trace, fits=fits), following)
        largest = dict(
            zip(axes, side_by_side(partial(self._largest, free, fits), axes), strict=True)
        )
        batch = largest.get(SearchAxis.BATCH)
        is_hopeless = batch is not None and not batch.capacity.largest
        values, spread = drawn_runs(setup, self.budget, free.trace)
        return DeviceMemory(
            budget=self.budget,
            trace=held.trace,
            fits=fits,
            batch=batch,
            sequence=largest.get(SearchAxis.SEQUENCE),
            sizes=tuple((axis, largest[axis]) for axis in setup.size_axes),
            breakdown=held.breakdown,
            allocations=held.allocations,
            requests=free.requests,
            batch_1=self._batch_1() if is_hopeless and setup.config.batch_size > 1 else None,
            what_ifs=self._what_ifs(free, batch),
            empties_cache=empties_cache(free.allocations),
            values=values,
            reserved_spread=spread,
        )

    def _batch_1(self) -> StepTrace | None:
        """Runs batch 1 without a limit; None when it does not run to its end."""
        setup = self.setup
        config = replace(setup.config, batch_size=1)
        trace = setup.runner.run(setup.cards.unlimited(self.budget), config)
        return trace if trace.outcome is RunOutcome.COMPLETED else None

    def _largest(self, free: RecordedStep, fits: bool, axis: Axis) -> LargestValue:
        runs = ProbeRuns(setup=self.setup, budget=self.budget, axis=axis)
        found = AxisSearch(runs=runs, recorded=free, fits=fits).largest()
        self._say(largest_found(axis, found), _FINISHING)
        return found

    def _say(self, found: str, following: str) -> None:
        text = f"{found}{FOUND_BEFORE}{following}" if found else following
        self.setup.progress(f"{self.budget.requested}: {text}")

    def _on_full_card(self, free: RecordedStep) -> tuple[bool, RecordedStep]:
        """Returns whether the step fits, and the run that applies to this card."""
        if free.trace.peak_reserved_bytes <= self.budget.capacity_bytes:
            return True, free  # no allocation would have failed on the card: the same run
        if free.trace.peak_allocated_bytes > self.budget.capacity_bytes:
            return False, free
        setup = self.setup
        full = recorded_run(setup.runner, setup.cards.limited(self.budget), setup.config)
        if full.trace.outcome is RunOutcome.COMPLETED and not full.trace.outside.beyond_bytes:
            return True, full
        return False, free

    def _what_ifs(self, free: RecordedStep, batch: LargestValue | None) -> tuple[WhatIf, ...]:
        if free.allocations is None:
            return ()
        return what_ifs(
            self.setup.plan.others,
            free.requests,
            None if batch is None else batch.scaled,
            capacity_bytes=self.budget.capacity_bytes,
            total_memory_bytes=self.budget.usable_memory_bytes,
        )


def empties_cache(allocations: AllocationTrace | None) -> int:
    """Returns how often the model's code gave cached memory back."""
    events = () if allocations is None else allocations.events
    return sum(event.kind is EventKind.EMPTY_CACHE for event in events)


def beyond_all_cards(trace: StepTrace) -> StepTrace:
    """Returns the trace of a run that needs more than can be measured, with a warning."""
    most = format_bytes(UNLIMITED_BYTES)
    said = (
        f"batch {trace.batch_size} needs more than can be measured ({most} in all, and with "
        "expandable segments 9/8 of the card for one tensor); the peaks are those reached before "
        "the allocation that failed"
    )
    return replace(trace, warnings=(*trace.warnings, said))


def model_error(trace: StepTrace) -> ModelError:
    """Returns the failure of a run as an error for the user."""
    failure = trace.failure
    assert failure is not None
    if failure.kind == LibraryError.__name__:
        return LibraryError(failure.message, failure.frames)
    kind = "" if failure.kind == "ModelError" else f"{failure.kind}: "
    return ModelError(
        f"the model's code failed ({failure.during}, batch {trace.batch_size}): "
        f"{kind}{failure.message}",
        failure.frames,
    )
