"""Confirms a plan: runs the step on the card with exactly the options that the plan prints.

In: changes of the caller's options. Out: Plan; None where the step does not fit with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.estimation.advice.combine import Attempt, merged
from planner.estimation.advice.trials import Trials
from planner.estimation.advice.words import command, flags
from planner.estimation.device_memory import DeviceMemory, DeviceMemorySearch
from planner.estimation.probes import SearchAxis
from planner.estimation.request import EstimateRequest
from planner.memory.budget import MemoryBudget
from planner.memory.largest import LargestValue
from planner.results.advice import Goal, Plan

_AXES = {
    Goal.LARGEST_BATCH: (SearchAxis.BATCH, "batch_size"),
    Goal.LONGEST_SEQUENCE: (SearchAxis.SEQUENCE, "sequence_length"),
}


def answer_of(
    trials: Trials, asked: EstimateRequest, budget: MemoryBudget, *, search: bool, sequence: bool
) -> DeviceMemory:
    """Runs a request on a card, as estimate() does.

    Raises:
        PlannerError: the user's code raised, or a run took too long.
    """
    setup = trials.setup_of(asked)
    return DeviceMemorySearch(setup=setup, budget=budget).answer(search, sequence=sequence)


def confirmed_plan(trials: Trials, target: str, found: Attempt, goal: Goal) -> Plan | None:
    """Returns the plan of an attempt, run on the card; None where it does not fit there."""
    changes: dict[str, Any] = merged(found.rows)
    asked, budget = trials.request_of(changes), trials.budget
    answer = answer_of(trials, asked, budget, search=True, sequence=goal is Goal.LONGEST_SEQUENCE)
    if goal in _AXES:
        axis, name = _AXES[goal]
        of_axis = answer.batch if axis is SearchAxis.BATCH else answer.sequence
        limited = None if of_axis is None else of_axis.limited
        if limited is None or not limited.largest:
            return None
        changes[name] = limited.largest * axis.unit
        asked = trials.request_of(changes)
        at_most = answer_of(trials, asked, budget, search=False, sequence=False)
        answer = replace(at_most, batch=answer.batch, sequence=answer.sequence)
        if axis is SearchAxis.SEQUENCE:
            answer = replace(answer, batch=None)  # searched at another length
    if not answer.fits:
        return None
    return _plan(trials, target, found, changes, answer)


def _plan(
    trials: Trials, target: str, found: Attempt, changes: Mapping[str, Any], answer: DeviceMemory
) -> Plan:
    config = trials.request_of(changes).config
    batch, sequence = answer.batch_capacity, answer.sequence
    tokens = None if sequence is None else sequence.limited
    peak_bytes = answer.trace.peak_reserved_bytes
    drawn = answer.values.are_decided
    if batch is not None and batch.largest < config.batch_size:
        batch = None  # this batch fits, and some smaller one does not: there is no largest to claim
    tried = trials.timed(changes)
    return Plan(
        levers=tuple(row.name for row in found.rows),
        flags=flags(changes),
        command=command(target, trials.budget.requested, {**trials.options, **changes}),
        code=tuple(line for row in found.rows for line in row.code.splitlines()),
        gpu=trials.budget.requested,
        batch_size=config.batch_size,
        sequence_length=config.sequence_length,
        peak_reserved_bytes=peak_bytes,
        device_total_bytes=answer.budget.device_total_bytes(peak_bytes),
        usable_memory_bytes=answer.budget.usable_memory_bytes,
        max_batch_size=None if batch is None else batch.largest,
        max_batch_confirmed=batch is not None and _is_confirmed(answer.batch) and not drawn,
        max_sequence_length=None if tokens is None else tokens.largest * SearchAxis.SEQUENCE.unit,
        max_sequence_confirmed=_is_confirmed(sequence) and not drawn,
        step_s=tried.step_s,
        time_factor=trials.time_factor(tried),
    )


def _is_confirmed(found: LargestValue | None) -> bool:
    return found is not None and found.is_confirmed


def plan_on_another_card(
    trials: Trials, target: str, budget: MemoryBudget, step_s: float | None
) -> Plan | None:
    """Returns the step as requested on another card, run there; None where it does not fit."""
    answer = answer_of(trials, trials.request_of({}), budget, search=True, sequence=False)
    if not answer.fits:
        return None
    plan = _plan(trials, target, Attempt(rows=(), tried=trials.run({})), {}, answer)
    return replace(
        plan,
        gpu=budget.requested,
        flags=("--gpu", budget.requested),
        command=command(target, budget.requested, trials.options),
        step_s=step_s,
        time_factor=None,
    )
