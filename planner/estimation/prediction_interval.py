"""Gives the interval of a card's device total, and the largest batch that fits at its upper end.

In: DeviceMemory and the ErrorInterval of predictions for that card. Out: PredictionInterval.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.estimation.device_memory import DeviceMemory
from planner.estimation.idle_card import idle_fraction
from planner.memory.allocator.replay import replay
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.forecast import Forecast
from planner.memory.interval import ErrorInterval, NoInterval
from planner.memory.largest import LargestValue
from planner.units import format_percent
from planner.wire.trace import RunOutcome, StepTrace

_NOT_SEARCHED = "no largest batch was searched"
_NOT_OF_ALL_CARDS = (
    "of every card at once none is suggested, which would take longer than all runs; ask for a "
    "card by its name"
)
_NO_INTERVAL = "there is no interval of device total that it could fit at the upper end of"
_NOT_ENDED = "the run of the batch that was asked for did not come to its end"
_NO_LIMIT = "no memory of the step depends on the batch"
_NO_REPLAY = "this allocator cannot be replayed"
_IDLE = "; it is wider, to hold for a card that keeps up with the host"
_BELOW_SAMPLES = "it is less than {smallest}, the smallest batch whose requests a replay goes by"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionInterval:
    """Holds the interval, as in DeviceEstimate. `basis` is its source, or why there is none.

    `spans_idle_card`: memory depends on how far the card is behind the host, and the interval is
    widened by a card that keeps up.
    """

    basis: str
    interval_bytes: tuple[int, int] | None = None
    coverage: float | None = None
    spans_idle_card: bool = False
    suggested_batch_size: int | None = None
    suggested_margin_bytes: int | None = None
    suggested_batch_reason: str | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """Returns the basis as a sentence of the report, and the reason why no batch is suggested.

        Leaves the reason out where no batch was requested, or where there is no interval either.
        """
        reason = self.suggested_batch_reason
        if self.coverage is None:
            return (self.basis,)
        covered = format_percent(self.coverage, 1)
        interval = (
            f"interval of device total: {covered} of such cases at the least, by the errors of "
            f"{self.basis}{_IDLE if self.spans_idle_card else ''}"
        )
        if reason in (None, _NOT_SEARCHED, _NOT_OF_ALL_CARDS):
            return (interval,)
        return (interval, f"no batch is suggested: {reason}")


def outlook(
    answer: DeviceMemory,
    spread: ErrorInterval | NoInterval,
    settings: AllocatorSettings | None,
    *,
    suggest: bool = True,
) -> PredictionInterval:
    """Returns the interval; with `suggest` also the batch that fits at its upper end, by replay."""
    if isinstance(spread, NoInterval):
        reason = _NOT_SEARCHED if answer.batch is None else _NO_INTERVAL
        return PredictionInterval(basis=spread.reason, suggested_batch_reason=reason)
    if answer.trace.outcome is RunOutcome.OUT_OF_MEMORY:
        return PredictionInterval(
            basis="no interval of device total: the run did not come to its end",
            suggested_batch_reason=_NOT_SEARCHED if answer.batch is None else _NOT_ENDED,
        )
    budget = answer.budget
    idle = idle_fraction(answer.requests, settings, total_memory_bytes=budget.usable_memory_bytes)
    least, greatest = answer.reserved_spread
    answer = replace(answer, reserved_spread=(least * min(1.0, idle), greatest * max(1.0, idle)))
    # The extra memory of other draws has to fit as well.
    capacity_bytes = int(spread.capacity_bytes(budget) / answer.reserved_spread[1])
    found: int | str = _NOT_SEARCHED if answer.batch is None else _NOT_OF_ALL_CARDS
    if suggest:
        found = _suggested(answer, capacity_bytes, settings)
    batch = found if isinstance(found, int) else None
    low_bytes, high_bytes = _with_other_draws(answer, spread)
    if _fits_in(answer, capacity_bytes, settings):
        # Memory beyond the card is idle: the allocator gives it back before it fails.
        high_bytes = min(high_bytes, budget.usable_memory_bytes - budget.reserve_bytes)
    return PredictionInterval(
        basis=spread.basis,
        interval_bytes=(low_bytes, high_bytes),
        coverage=spread.coverage,
        suggested_batch_size=batch,
        suggested_margin_bytes=None if batch is None else budget.capacity_bytes - capacity_bytes,
        suggested_batch_reason=found if isinstance(found, str) else None,
        spans_idle_card=idle != 1.0,
    )


def _with_other_draws(answer: DeviceMemory, spread: ErrorInterval) -> tuple[int, int]:
    """Returns the interval, widened by other draws of sizes and by a card that keeps up."""
    reserved_bytes = answer.trace.peak_reserved_bytes
    least, greatest = answer.reserved_spread
    low_bytes, _ = spread.interval_bytes(answer.budget, round(least * reserved_bytes))
    _, high_bytes = spread.interval_bytes(answer.budget, round(greatest * reserved_bytes))
    return low_bytes, high_bytes


def _fits_in(answer: DeviceMemory, capacity_bytes: int, settings: AllocatorSettings | None) -> bool:
    """Returns whether the step runs if the allocator may reserve `capacity_bytes`."""
    trace = answer.trace
    if trace.peak_reserved_bytes <= capacity_bytes:
        return True
    if trace.peak_allocated_bytes > capacity_bytes or not answer.requests or settings is None:
        return False
    found = replay(
        answer.requests,
        settings,
        capacity_bytes=capacity_bytes,
        total_memory_bytes=answer.budget.usable_memory_bytes,
    )
    return found.out_of_memory is None


def _suggested(
    answer: DeviceMemory, capacity_bytes: int, settings: AllocatorSettings | None
) -> int | str:
    """Returns the largest batch if the allocator may reserve `capacity_bytes`; 0: none fits.

    A text says why it is not known: nothing limits it, no replay is possible, it is below all
    samples.
    """
    largest = answer.batch
    if largest is None:
        return _NOT_SEARCHED
    if largest.has_no_limit:
        return _NO_LIMIT
    if not largest.capacity.largest or capacity_bytes <= 0:
        return 0
    if settings is None:
        return _NO_REPLAY
    if largest.scaled is None:
        return f"the largest batch was searched by runs: {largest.reason}"
    found = Forecast(largest.scaled, settings).largest(
        capacity_bytes=capacity_bytes,
        total_memory_bytes=answer.budget.usable_memory_bytes,
        guess=_guess(answer, largest, capacity_bytes),
        look_below=False,
    )
    smallest = largest.scaled.values[0]
    if found.largest < smallest:
        return _below_samples(answer.trace, smallest, capacity_bytes)
    return min(found.largest, largest.capacity.largest)


def _below_samples(trace: StepTrace, smallest: int, capacity_bytes: int) -> int | str:
    """Answers below all samples: 0, the run of batch 1 where that was run, else a reason.

    Batch 1 is no sample of larger batches, because it makes other requests.
    """
    if smallest == 1:
        return 0
    if (trace.batch_size, smallest) == (1, 2):
        return int(trace.peak_reserved_bytes <= capacity_bytes)
    return _BELOW_SAMPLES.format(smallest=smallest)


def _guess(answer: DeviceMemory, largest: LargestValue, capacity_bytes: int) -> int | None:
    """Guesses on the line from the batch that was run to the largest one, which fills the card.

    None where there is no such line, because the two are the same.
    """
    asked, most = answer.trace.batch_size, largest.capacity.largest
    full_bytes = answer.budget.capacity_bytes
    rise_bytes = full_bytes - answer.trace.peak_reserved_bytes
    if most == asked or not rise_bytes:
        return None
    less = (full_bytes - capacity_bytes) * (most - asked) / rise_bytes
    return max(1, min(most, round(most - less)))
