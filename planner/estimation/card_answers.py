"""The answers of all cards: card by card, or with runs that like cards share.

In: the step's setup, the cards' budgets. Out: CardAnswers in the order of the budgets.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.estimation.card_run import CardAnswer, CardRun
from planner.estimation.step_setup import StepSetup, side_by_side
from planner.estimation.survey import Survey
from planner.memory.budget import MemoryBudget
from planner.memory.largest import Card


def card_by_card(
    setup: StepSetup, budgets: Sequence[MemoryBudget], *, search: bool
) -> list[CardAnswer]:
    """As many at a time as there are processors."""
    runs = [CardRun(setup=setup, budget=budget) for budget in budgets]
    return side_by_side(lambda run: run.answer(search), runs)


def survey(setup: StepSetup, budgets: Sequence[MemoryBudget], *, search: bool) -> list[CardAnswer]:
    """The same, of cards that share their runs with those of their compute capability."""
    alike: dict[tuple[int, int], list[MemoryBudget]] = {}
    for budget in budgets:
        alike.setdefault(budget.card.compute_capability, []).append(budget)
    answered: dict[Card, int] = {}
    surveys = [
        Survey(setup=setup, budgets=tuple(group), answered=answered) for group in alike.values()
    ]
    found = side_by_side(lambda group: group.answers(search), surveys)
    by_name = {answer.budget.requested: answer for group in found for answer in group}
    return [by_name[budget.requested] for budget in budgets]
