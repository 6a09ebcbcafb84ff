"""The answers of all cards: card by card, or with runs that like cards share.

In: the step's setup, the cards' budgets. Out: CardAnswers in the order of the budgets.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.estimation.context import RunContext, side_by_side
from planner.estimation.device_memory import DeviceMemory, DeviceMemorySearch
from planner.memory.budget import MemoryBudget


def answers_by_device(
    setup: RunContext, budgets: Sequence[MemoryBudget], *, search: bool
) -> list[DeviceMemory]:
    """As many at a time as there are processors."""
    runs = [DeviceMemorySearch(setup=setup, budget=budget) for budget in budgets]
    return side_by_side(lambda run: run.answer(search), runs)
