"""Runs one step with other draws of the numbers that only a card can compute.

In: the run of a step. Out: the values that it read, and how much its memory varies with the draws.
"""

from __future__ import annotations

from dataclasses import replace

from planner.config.step import DataDependent
from planner.estimation.context import RunContext, side_by_side
from planner.memory.budget import MemoryBudget
from planner.results.values import ValuesResult
from planner.wire.trace import RunOutcome, StepTrace

_SEEDS = (1, 2, 3)  # besides 0, that of the run itself


def drawn_runs(
    setup: RunContext, budget: MemoryBudget, trace: StepTrace
) -> tuple[ValuesResult, tuple[float, float]]:
    """Returns the values of the run in `trace`; peak reserved of other draws over its own.

    Other draws are run only where they decide sizes: (1.0, 1.0) elsewhere, and where every
    decision is taken at its maximum.
    """
    found = ValuesResult(
        reads=trace.value_reads,
        data_dependent=setup.config.data_dependent,
        parted=trace.parted_reads,
    )
    same = (1.0, 1.0)
    if not found.are_decided or found.data_dependent is DataDependent.MOST:
        return found, same
    setup.progress(f"{budget.requested}: other draws of the numbers that decide sizes")
    profile = setup.cards.unlimited(budget)

    def of_seed(seed: int) -> StepTrace:
        return setup.runner.run(profile, setup.config, seed)

    ran = [one for one in side_by_side(of_seed, _SEEDS) if one.outcome is RunOutcome.COMPLETED]
    ratios = [one.peak_reserved_bytes / max(1, trace.peak_reserved_bytes) for one in ran]
    spread = (min(1.0, *ratios), max(1.0, *ratios)) if ratios else same
    return replace(found, seeds=(0, *_SEEDS)), spread
