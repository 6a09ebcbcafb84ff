"""Prepares the search for a card's largest batch, sequence or image: samples, start, known results.

In: the recorded run of the requested step, and runs at other values. Out: LargestValue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.config.step import StepConfig
from planner.estimation.probes import ProbeRuns, SearchAxis
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.replay import Request, replay, requests_of
from planner.memory.largest import LargestValue, SearchStart, largest
from planner.memory.peak import Breakdown, breakdown
from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.scaling import FIRST_ALIKE, Sample
from planner.process.step_runner import StepRunner
from planner.wire.trace import AllocationTrace, RunOutcome, StepTrace, TensorCategory

_FIXED = (
    TensorCategory.PARAMETER, TensorCategory.BUFFER, TensorCategory.GRADIENT,
    TensorCategory.OPTIMIZER_STATE,
)  # fmt: skip
_WITHOUT_BREAKDOWN = 4  # times the requested batch
_LARGEST_GUESS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """A run, with its requests and breakdown where it was recorded to its end."""

    trace: StepTrace
    allocations: AllocationTrace | None = None
    requests: tuple[Request, ...] = ()
    breakdown: Breakdown | None = None


def recorded_run(runner: StepRunner, profile: str, config: StepConfig) -> RecordedStep:
    """Runs the step on the card of `profile`, and records it if that can be done."""
    return recorded_step(*runner.record(profile, config))


def recorded_step(trace: StepTrace, allocations: AllocationTrace | None) -> RecordedStep:
    """Returns the run with its requests and breakdown, where it was recorded to its end."""
    if allocations is None or trace.outcome is not RunOutcome.COMPLETED:
        return RecordedStep(trace=trace)
    found = breakdown(
        allocations,
        peak_allocated_bytes=trace.peak_allocated_bytes,
        peak_reserved_bytes=trace.peak_reserved_bytes,
    )
    return RecordedStep(
        trace=trace,
        allocations=allocations,
        requests=tuple(requests_of(allocations.events)),
        breakdown=found,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisSearch:
    """Searches along the axis of `runs`.

    `recorded` is the run of the requested step on a card without a limit, `fits` is whether it fits
    on the card.
    """

    runs: ProbeRuns
    recorded: RecordedStep
    fits: bool

    def largest(self) -> LargestValue:
        """Returns the largest value that fits on the card."""
        asked, values = self._asked(), self._values()
        sample = self._sample() if asked in values else None
        found = largest(
            self.runs.tries(),
            self.runs.setup.replayed_card(self.runs.budget),
            SearchStart(
                values=values,
                sample=sample,
                known=self._known(),
                start=self._start(),
                trouble=self._trouble(),
            ),
        )
        confirms = self.runs.setup.confirms
        return replace(found, is_confirmed=found.is_confirmed and confirms)

    def _asked(self) -> int | None:
        """Returns the requested value in units of the axis; None: it is no whole number of them."""
        size, unit = self._size(), self.runs.axis.unit
        return None if size % unit else size // unit

    def _size(self) -> int:
        return self.runs.axis.size_of(self.runs.setup.config)

    def _known(self) -> tuple[Probe, ...]:
        asked = self._asked()
        if asked is None:
            return ()
        total_bytes = self.recorded.trace.peak_allocated_bytes
        outcome = ProbeOutcome.FITS if self.fits else ProbeOutcome.OOM
        return (Probe(value=asked, outcome=outcome, total_bytes=total_bytes),)

    def _sample(self) -> Sample | None:
        asked, allocations = self._asked(), self.recorded.allocations
        if asked is None or allocations is None:
            return None
        return Sample(
            value=asked,
            requests=self.recorded.requests,
            workspaces=frozenset(
                event.block
                for event in allocations.events
                if event.category is TensorCategory.WORKSPACE
            ),
        )

    def _values(self) -> tuple[int, ...]:
        """Returns the values to sample: the requested one, and others near a full card."""
        asked = max(1, self._size() // self.runs.axis.unit)
        if self.runs.axis is SearchAxis.SEQUENCE:
            return (asked, 2 * asked, 3 * asked)
        first = asked if self.runs.axis.degree > 1 else max(FIRST_ALIKE, asked)
        values, guess = [first], self._guess(asked)
        between = [(first + guess) // 2] * (self.runs.axis.degree - 1)
        for value in (*between, guess):
            while value in values:
                value += 1
            values.append(value)
        return tuple(values)

    def _guess(self, asked: int) -> int:
        """Estimates the value at which the memory that grows with it would fill the card."""
        found, degree = self.recorded.breakdown, self.runs.axis.degree
        if found is None:
            return _WITHOUT_BREAKDOWN * asked
        sums = found.by_category()
        fixed = sum(sums.get(category.value, 0) for category in _FIXED)
        growing = max(1, found.total() - fixed)
        room = max(0, self.runs.budget.capacity_bytes - fixed)
        guess = room * asked // growing if degree == 1 else int(asked * (room / growing) ** 0.5)
        return max(FIRST_ALIKE, min(guess, _LARGEST_GUESS))

    def _start(self) -> int:
        """Returns the first value to try if every try is a run."""
        asked = max(1, self._size() // self.runs.axis.unit)
        if self.fits:
            return asked
        taken = max(1, self.recorded.trace.peak_reserved_bytes)
        return max(1, int(asked * self.runs.budget.capacity_bytes / taken))

    def _trouble(self) -> str:
        """Says why a replay does not reproduce this run; "" where it does."""
        allocations, trace = self.recorded.allocations, self.recorded.trace
        plan = self.runs.setup.plan
        if plan.in_force is None:
            return f"the allocator's setting {plan.text} cannot be replayed"
        if allocations is None:
            return "the run could not be recorded"
        again = replay(
            self.recorded.requests,
            plan.in_force,
            capacity_bytes=WITHOUT_LIMIT_BYTES,
            total_memory_bytes=self.runs.budget.usable_memory_bytes,
        )
        peaks = again.peak_allocated_bytes, again.peak_reserved_bytes
        if peaks != (trace.peak_allocated_bytes, trace.peak_reserved_bytes):
            return "a replay of the run does not give its peaks"
        return ""
