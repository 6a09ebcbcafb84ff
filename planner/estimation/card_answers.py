"""The answers of all cards: card by card, or with runs that like cards share.

In: the step's setup, the cards' budgets. Out: CardAnswers in the order of the budgets.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.estimation.context import StepSetup, side_by_side
from planner.estimation.device_memory import CardAnswer, CardRun
from planner.memory.budget import MemoryBudget


def card_by_card(
    setup: StepSetup, budgets: Sequence[MemoryBudget], *, search: bool
) -> list[CardAnswer]:
    """As many at a time as there are processors."""
    runs = [CardRun(setup=setup, budget=budget) for budget in budgets]
    return side_by_side(lambda run: run.answer(search), runs)
