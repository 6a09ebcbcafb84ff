"""What a step takes on one card at any batch: what ran, the replay of the search, else a run.

In: the card's answer and the setup of its runs. Out: device totals and whether a batch fits.
Convention: at a batch that does not fit, the total is that of a card with memory enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.estimation.card_run import CardAnswer
from planner.estimation.step_setup import StepSetup
from planner.memory.forecast import WITHOUT_LIMIT_BYTES, Forecast
from planner.trace import Outcome, StepTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMemory:
    """The memory of one card."""

    setup: StepSetup
    answer: CardAnswer

    @property
    def largest(self) -> int | None:
        """The largest batch that fits; None where there is none, or nothing was searched."""
        found = self.answer.batch
        return None if found is None or found.has_no_limit else found.capacity.largest

    def fits(self, batch_size: int) -> bool:
        """Whether a batch fits: as it ran, else by the largest one that does."""
        answer = self.answer
        if batch_size == self.setup.config.batch_size:
            return answer.fits
        if answer.batch is not None and answer.batch.has_no_limit:
            return True
        return batch_size <= (self.largest or 0)

    def device_total_bytes(self, batch_size: int) -> int | None:
        """Peak reserved and what others take of the card; None where the step fails."""
        reserved_bytes = self._reserved_bytes(batch_size)
        if reserved_bytes is None:
            return None
        budget = self.answer.budget
        beside_bytes = budget.context_overhead_bytes + budget.reserved_offset_bytes
        return reserved_bytes + beside_bytes

    def _reserved_bytes(self, batch_size: int) -> int | None:
        answer, batch_1 = self.answer, self.answer.batch_1
        if batch_size == self.setup.config.batch_size:
            return _peak(answer.trace)
        if batch_size == 1 and batch_1 is not None:
            return _peak(batch_1)
        scaled = None if answer.batch is None else answer.batch.scaled
        settings = self.setup.plan.in_force
        # Batch 1 gives tensors other strides, hence other requests.
        is_other = batch_size == 1 and scaled is not None and scaled.layouts[0].value > 1
        if scaled is None or settings is None or is_other:
            return self._by_run(batch_size)
        forecast = Forecast(scaled, settings)
        usable_bytes = answer.budget.usable_memory_bytes
        for capacity_bytes in (answer.budget.capacity_bytes, WITHOUT_LIMIT_BYTES):
            found = forecast.on_card(
                batch_size, capacity_bytes=capacity_bytes, total_memory_bytes=usable_bytes
            )
            if found.out_of_memory is None:
                return found.peak_reserved_bytes
        return None

    def _by_run(self, batch_size: int) -> int | None:
        """As above; of a batch that fits, what lies idle beyond the card is given back."""
        setup, budget = self.setup, self.answer.budget
        setup.progress(f"{budget.requested}: batch {batch_size}")
        config = replace(setup.config, batch_size=batch_size)
        reserved_bytes = _peak(setup.runner.run(setup.cards.unlimited(budget), config))
        if reserved_bytes is None or not self.fits(batch_size):
            return reserved_bytes
        return min(reserved_bytes, budget.capacity_bytes)


def _peak(trace: StepTrace) -> int | None:
    return trace.peak_reserved_bytes if trace.outcome is Outcome.COMPLETED else None
