"""Finds other cards on which the step fits as requested, the cheapest first.

In: the trials of the step, the database of cards. Out: CardChoices. Convention: cards of one
compute capability share a run, and times are those of the operators counted on the requested card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from planner.cost.price import rent
from planner.estimation.advice.trials import Trials
from planner.estimation.grouped_devices import answers_by_group
from planner.estimation.session import EstimationSession
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.results.advice import CardChoice

# Of the peak on the requested card: kernels of other cards need other workspaces, same tensors.
_LEAST_SHARE = 0.9
SAME_KERNELS = (
    "other cards are taken to launch the operators that were counted on the requested one"
)


def cards_that_fit(
    trials: Trials, session: EstimationSession, database: Path | None, reserve: str | int
) -> tuple[tuple[CardChoice, MemoryBudget], ...]:
    """Returns the cards with a known rent on which the step fits as requested.

    The cheapest step first; the rent is the lowest in the card's record.

    Raises:
        PlannerError: a run failed.
    """
    own, asked = trials.budget.spec.id, trials.run({}).trace
    cards = [
        card.id
        for card in load_gpus(database).all()
        if card.emulatable and card.id != own and rent(card.prices) is not None
    ]
    if not cards or asked is None:
        return ()
    least_bytes = asked.peak_allocated_bytes * _LEAST_SHARE
    every = memory_budgets(cards, hardware_db=database, gpu_memory=None, reserve=reserve)
    budgets = [budget for budget in every if budget.capacity_bytes >= least_bytes]
    if not budgets:
        return ()
    answers = answers_by_group(session.setup, budgets, search=False)
    counted = trials.timed({}).counted
    config = session.setup.config
    found = []
    for answer in answers:
        if not answer.fits:
            continue
        budget = answer.budget
        price = rent(budget.spec.prices)
        assert price is not None, "only cards with a rent were asked"
        step_s = None if counted is None else trials.step_s(config, counted, budget)
        choice = CardChoice(
            id=budget.spec.id,
            name=budget.card.name,
            usable_memory_bytes=budget.usable_memory_bytes,
            device_total_bytes=budget.device_total_bytes(answer.trace.peak_reserved_bytes),
            price_per_hour=(price.low, price.high),
            currency=price.currency,
            step_s=step_s,
        )
        found.append((choice, budget))
    return tuple(sorted(found, key=lambda one: _order(one[0])))


def _order(card: CardChoice) -> tuple[float, float]:
    price = card.price_per_hour
    cost = card.cost_per_step
    return (math.inf if cost is None else cost, math.inf if price is None else price[0])


def own_cost_per_step(card: GpuSpec, step_s: float | None) -> float | None:
    """Returns the rent of a step on a card, by its lowest rent; None: not known."""
    price = rent(card.prices)
    return None if price is None or step_s is None else price.low * step_s / 3600


def cheapest(cards: Sequence[CardChoice]) -> CardChoice | None:
    """Returns the card with the least rent for a step; None: the cost of none is known."""
    known = [card for card in cards if card.cost_per_step is not None]
    return min(known, key=lambda card: card.cost_per_step or 0.0, default=None)
