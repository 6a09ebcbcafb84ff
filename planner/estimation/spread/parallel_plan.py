"""Makes the plan of a spread that was confirmed: its figures, its command, its code.

In: Confirmed, the trials. Out: ParallelPlan. Convention: `flags` are exactly the options that were
run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.config.parallel import DataParallel
from planner.cost.price import HourlyPrice
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Trials, Tried
from planner.estimation.advice.words import command, flags
from planner.estimation.spread.confirm import Confirmed
from planner.estimation.spread.plan_code import (
    PlanCode,
    eight_bit_lines,
    launch_command,
    plan_code,
    script_of,
)
from planner.estimation.spread.spreads import Spread
from planner.results.parallelization import ParallelPlan

_OWN = "parallelize(model, mesh)"  # in what a run says of a model file that has one


def plan_of(
    trials: Trials, target: str, found: Confirmed, price: HourlyPrice | None
) -> ParallelPlan:
    """Returns the plan; `target` are the words of the caller."""
    run, spread = found.run, found.run.candidate.spread
    tried, trial = run.tried, found.run.trial
    trace, budget, config = tried.trace, tried.budget, tried.config
    assert trace is not None, "it was run"
    assert budget is not None, "it was run"
    assert config is not None, "it was run"
    code = _code(spread, tried)
    rate, length = trial.samples_per_s, config.sequence_length
    rows = run.candidate.facts.rows
    ranks = tried.ranks
    return ParallelPlan(
        spread=trial,
        flags=flags(run.changes),
        command=command(target, budget.requested, {**trials.options, **run.changes}),
        launch=launch_command(spread),
        code=code.lines,
        code_flags=flags(_of_code(run.changes, code)),
        script=(
            *script_of(spread, trace.optimizer),
            *_checkpointing(run.candidate.facts.checkpoint),
            *(line for row in rows for line in _lines(row, spread)),
        ),
        peak_reserved_bytes=trace.peak_reserved_bytes,
        usable_memory_bytes=budget.usable_memory_bytes,
        worst_rank=0 if ranks is None else ranks.worst,
        rank_reason="" if ranks is None else ranks.reason,
        global_batch=config.samples_of_a_step,
        next_batch_size=found.refused,
        tokens_per_s=None if rate is None or length is None else rate * length,
        currency=None if price is None else price.currency,
    )


def _lines(row: LeverRow, spread: Spread) -> Sequence[str]:
    """Returns the lines of a lever, which may be others where parameters are DTensors."""
    if row.options.get("optimizer") == "adamw8bit" and spread.data is DataParallel.FSDP:
        return eight_bit_lines()
    return row.code.splitlines()


def _code(spread: Spread, tried: Tried) -> PlanCode:
    trace, config = tried.trace, tried.config
    assert trace is not None, "it was run"
    assert config is not None, "it was run"
    if any(_OWN in said for said in trace.assumptions):
        return PlanCode(lines=(), replaces_autocast=False)
    return plan_code(spread, trace.sharded_units, config)


def _of_code(changes: Mapping[str, Any], code: PlanCode) -> dict[str, Any]:
    """Returns the options for a file that spreads the model itself, to the same bytes."""
    found = {name: value for name, value in changes.items() if name != "parallel_arguments"}
    return {**found, "precision": "as-built"} if code.replaces_autocast else found


def _checkpointing(level: str) -> tuple[str, ...]:
    if level not in ("all", "every:2"):
        return ()
    which = "each block" if level == "all" else "every second block"
    return (f"x = checkpoint(block, x, use_reentrant=False)  # in forward, for {which}",)
