"""Gives the memory of a step on one card at any batch, from a known run, a replay or a new run.

In: the card's answer and the setup of its runs. Out: device totals and whether a batch fits.
Convention: at a batch that does not fit, the total is that of a card with enough memory. A batch is
run where a replay would be a guess: batch 1, and far from the samples where scratch has no rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.forecast import Forecast
from planner.wire.trace import RunOutcome, StepTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMemory:
    """Gives the memory of one card at any batch."""

    setup: RunContext
    answer: DeviceMemory

    @property
    def largest(self) -> int | None:
        """Returns the largest batch that fits; None: not searched, or no memory depends on it."""
        found = self.answer.batch_capacity
        return None if found is None else found.largest

    @property
    def largest_is_bound(self) -> bool:
        """Returns whether the search stopped at its bound with everything fitting."""
        found = self.answer.batch_capacity
        return found is not None and found.is_bound

    def fits(self, batch_size: int) -> bool:
        """Returns whether a batch fits: by its run, else by the largest batch that fits.

        Beyond the bound of the search, its own peak decides.
        """
        answer = self.answer
        if batch_size == self.setup.config.batch_size:
            return answer.fits
        if answer.batch is not None and answer.batch.has_no_limit:
            return True
        if batch_size <= (self.largest or 0):
            return True
        if answer.batch is None or not answer.batch.capacity.is_bound:
            return False
        reserved_bytes = self._reserved_bytes(batch_size, fits=False)
        return reserved_bytes is not None and reserved_bytes <= answer.budget.capacity_bytes

    def device_total_bytes(self, batch_size: int) -> int | None:
        """Returns peak reserved + what others take of the card; None where the step fails."""
        reserved_bytes = self._reserved_bytes(batch_size, fits=self.fits(batch_size))
        if reserved_bytes is None:
            return None
        return self.answer.budget.device_total_bytes(reserved_bytes)

    def _reserved_bytes(self, batch_size: int, *, fits: bool) -> int | None:
        answer, batch_1 = self.answer, self.answer.batch_1
        if batch_size == self.setup.config.batch_size:
            return _peak(answer.trace)
        if batch_size == 1 and batch_1 is not None:
            return _peak(batch_1)
        scaled = None if answer.batch is None else answer.batch.scaled
        settings = self.setup.plan.in_force
        if scaled is None or settings is None or not scaled.holds_at(batch_size):
            return self._by_run(batch_size, fits=fits)
        forecast = Forecast(scaled, settings)
        capacity_bytes = answer.budget.capacity_bytes if fits else WITHOUT_LIMIT_BYTES
        found = forecast.on_card(
            batch_size,
            capacity_bytes=capacity_bytes,
            total_memory_bytes=answer.budget.usable_memory_bytes,
        )
        # Near the limit a run may fit where the replay does not: the run decides.
        return (
            self._by_run(batch_size, fits=fits)
            if found.out_of_memory
            else found.peak_reserved_bytes
        )

    def _by_run(self, batch_size: int, *, fits: bool) -> int | None:
        """Runs the batch without a limit; if it `fits` but takes more, runs it on the card too."""
        setup, budget = self.setup, self.answer.budget
        setup.progress(f"{budget.requested}: batch {batch_size}")
        config = replace(setup.config, batch_size=batch_size)
        reserved_bytes = _peak(setup.runner.run(setup.cards.unlimited(budget), config))
        if reserved_bytes is None or reserved_bytes <= budget.capacity_bytes:
            return reserved_bytes
        if not fits:
            return reserved_bytes
        return _peak(setup.runner.run(setup.cards.limited(budget), config))


def _peak(trace: StepTrace) -> int | None:
    return trace.peak_reserved_bytes if trace.outcome is RunOutcome.COMPLETED else None
