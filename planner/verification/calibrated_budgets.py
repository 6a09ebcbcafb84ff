"""Corrects the cards of an estimate by past runs on physical cards.

In: budgets, and the history. Out: CalibratedBudgets: corrected budgets, spreads, warnings.
Convention: an estimate does not fail because of the history; it warns and goes on without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.config.step import Mode
from planner.errors import HistoryError
from planner.memory.budget import CardKernels, MemoryBudget, calibrated
from planner.memory.interval import ErrorInterval, NoInterval
from planner.verification.calibration import calibrate, comparable, installed_driver
from planner.verification.intervals import card_spread
from planner.verification.store import has_history

if TYPE_CHECKING:
    from planner.verification.history import HistoryEntry
    from planner.verification.kept_traces import TraceEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedBudgets:
    """The requested `budgets`, corrected; a spread for each, in the same order."""

    budgets: tuple[MemoryBudget, ...]
    spreads: tuple[ErrorInterval | NoInterval, ...]
    warnings: tuple[str, ...] = ()


def calibrated_budgets(
    budgets: Sequence[MemoryBudget], *, torch: str, mode: Mode, from_history: bool
) -> CalibratedBudgets:
    """Corrects the budgets by past runs; without `from_history`, only published figures count.

    Raises:
        UsageError: with the measured context overhead, nothing is left for tensors.
    """
    kept, traces, warnings = _kept() if from_history else ((), (), ())
    driver = installed_driver() if kept else None
    by_card = {
        card: comparable([one for one in kept if one.card == card], torch=torch, driver=driver)
        for card in {one.card for one in kept}
    }
    runs = [by_card.get(budget.card.name, ()) for budget in budgets]
    spreads: dict[tuple[HistoryEntry, ...], ErrorInterval | NoInterval] = {}
    for own in runs:
        if own not in spreads:
            spreads[own] = card_spread(own, mode)
    return CalibratedBudgets(
        budgets=tuple(
            calibrated(budget, calibrate(own) if own else None, _kernels(traces, budget))
            for budget, own in zip(budgets, runs, strict=True)
        ),
        spreads=tuple(spreads[own] for own in runs),
        warnings=warnings,
    )


def _kernels(traces: Sequence[TraceEntry], budget: MemoryBudget) -> CardKernels | None:
    if not traces:
        return None
    from planner.verification.kept_traces import card_kernels  # loads the times of kernels

    return card_kernels(traces, budget.spec)


def _kept() -> tuple[tuple[HistoryEntry, ...], tuple[TraceEntry, ...], tuple[str, ...]]:
    """Returns verifications, traces and warnings."""
    try:
        if not has_history():
            return (), (), ()
        from planner.verification import history  # loads the records of results

        kept = history.kept()
        traces = tuple(one for one in kept if not isinstance(one, history.HistoryEntry))
        return tuple(one for one in kept if isinstance(one, history.HistoryEntry)), traces, ()
    except HistoryError as error:
        return (), (), (f"nothing was learnt from past verifications: {error}",)
