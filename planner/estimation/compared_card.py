"""Compares one card: chooses its batch, and gives the speed and the epoch there.

In: the memory and the speeds of the card, the requested batch. Out: Compared. Convention: where the
requested batch does not fit, times are those of a card with enough memory, and memory is the bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.estimation.batch_memory import BatchMemory
from planner.estimation.batch_timing import BatchSpeeds, doublings
from planner.estimation.device_timing import DeviceTiming
from planner.results.comparison import ComparedCard
from planner.results.curve import knee_of
from planner.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Holds a compared card. `speed` is None where there is no batch to time it at.

    `does_not_fit` is the batch that was too large, None where it fits; `reason` says what it takes.
    """

    card: ComparedCard
    speed: DeviceTiming | None = None
    does_not_fit: int | None = None
    reason: str = ""


def compared(memory: BatchMemory, speeds: BatchSpeeds, batch_size: int | None) -> Compared:
    """Compares the card at `batch_size`; None: at its knee or its largest batch, if smaller."""
    answer = memory.answer
    budget = answer.budget
    batch = knee_that_fits(speeds, memory.largest) if batch_size is None else batch_size
    fits = batch is not None and memory.fits(batch)
    card = ComparedCard(
        requested=budget.requested,
        name=budget.card.name,
        id=budget.spec.id,
        usable_memory_bytes=budget.usable_memory_bytes,
        fits=fits,
        max_batch_size=memory.largest,
        max_batch_is_bound=memory.largest_is_bound,
    )
    found = None if batch is None else speeds.at(batch, fits=fits)
    if batch is not None and found is not None:
        card = _timed(card, batch, found)
    if fits:
        return Compared(card=card, speed=found)
    tried = batch or 1
    return Compared(card=card, speed=found, does_not_fit=tried, reason=_reason(memory, tried))


def knee_that_fits(speeds: BatchSpeeds, largest: int | None) -> int | None:
    """Returns the smallest batch with KNEE_SHARE of the best throughput; None: no batch fits."""
    if largest == 0:
        return None
    found = doublings(speeds.samples_per_s, largest)
    if largest is not None:
        found = {batch: samples for batch, samples in found.items() if batch <= largest}
        most = speeds.samples_per_s(largest)
        if most is not None:
            found[largest] = most
    return knee_of(found)


def _timed(card: ComparedCard, batch: int, found: DeviceTiming) -> ComparedCard:
    epoch, price = found.cost.epoch, found.cost.price
    return replace(
        card,
        batch_size=batch,
        step_s=found.time.step_s,
        samples_per_s=found.time.samples_per_s,
        bound=found.time.bottleneck.bound.value,
        epoch_hours=None if epoch is None else epoch.hours,
        kwh=None if epoch is None else epoch.kwh,
        money=None if epoch is None else epoch.money,
        currency=None if price is None else price.currency,
        price_basis=None if price is None else price.basis,
    )


def _reason(memory: BatchMemory, batch: int) -> str:
    budget = memory.answer.budget
    needed_bytes = memory.device_total_bytes(batch)
    if needed_bytes is None:
        return f"{budget.requested} (not measured)"
    usable = format_bytes(budget.usable_memory_bytes - budget.reserve_bytes)
    return f"{budget.requested} ({format_bytes(needed_bytes)} of {usable})"
