"""Searches the best spread: arithmetic first, then runs of the most promising.

In: the trials of a step, the numbers of GPUs to use. Out: Searched. Convention: a spread is run as
long as arithmetic expects it to come near the best one that fits; what divides layers is expected
too fast, because its own messages are left out, so that it must promise more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from planner.config.parallel import DataParallel
from planner.cost.price import HourlyPrice
from planner.errors import PlannerError
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Trials
from planner.estimation.spread.candidates import (
    Candidate,
    Field,
    candidate_of,
    in_order,
    not_dealt_out,
    too_large,
)
from planner.estimation.spread.facts import StepFacts, facts_of, with_counts
from planner.estimation.spread.runs import RunSpread, run_spread, too_large_run
from planner.estimation.spread.spreads import Spread
from planner.results.parallelization import SpreadState, SpreadTrial
from planner.units import format_bytes, format_significant

_MOST_RUN = 6  # spreads; each takes two to five runs
_MOST_DIVIDED = 1  # of them such as divide layers
_LEAST_FITTING = 2  # the plan and a runner-up
_NEAR_FACTOR = 1.05  # a forecast that is slower by more than this is not run
_WORTH_FACTOR = 0.98  # a gain in time below this is within the error of the model
_DIVIDED_FACTOR = 0.95  # a forecast without the messages of divided layers must be faster by this
ANY_LEVEL = "any"  # of checkpointing
_DIVIDED_LATER = "levers without divided layers were tried first"
OnSpread = Callable[[SpreadTrial], None]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched: spreads, levels of checkpointing, and what is to be small.

    `price` is that of one GPU; None: not known. With `by_gpus` the rent of a sample is to be small.
    A `quick` search ends where the spread that shares most does not fit with one sample; it runs
    only what by arithmetic fits, and nothing that divides layers, whose runs take the longest.
    """

    spreads: Sequence[Spread]
    levels: Mapping[str, Mapping[str, Any]]
    price: HourlyPrice | None
    by_gpus: bool
    quick: bool = False


@dataclass(slots=True)
class Searched:
    """What was found with some levers: runs, and the spreads that fell out without one."""

    facts: list[StepFacts] = field(default_factory=list)
    runs: list[RunSpread] = field(default_factory=list)
    others: list[SpreadTrial] = field(default_factory=list)

    def best(self, *, by_gpus: bool) -> list[RunSpread]:
        """Returns the runs that fit, the best first.

        Of those within the error of the model, the one with least memory comes first.
        """
        fit = [one for one in self.runs if one.fits]
        fit.sort(key=lambda one: one.value(by_gpus=by_gpus))
        least = fit[0].value(by_gpus=by_gpus) / _WORTH_FACTOR if fit else 0.0
        near = [one for one in fit if one.value(by_gpus=by_gpus) <= least]
        near.sort(key=lambda one: one.sample_bytes)
        return [*near, *(one for one in fit if one not in near)]


def searched(
    trials: Trials,
    known: Field,
    wanted: Wanted,
    rows: Sequence[LeverRow],
    on_spread: OnSpread,
    progress: Progress,
) -> Searched:
    """Searches with levers; they are on in all runs.

    Raises:
        PlannerError: the step does not run on one card with them.
    """
    found = Searched()
    candidates = _candidates(trials, known, wanted, rows, found, progress)
    waiting = in_order(candidates, by_gpus=wanted.by_gpus)
    divided = 0
    for one in waiting:
        reason = _not_worth_a_run(one, found, wanted, divided)
        if reason is not None:
            found.others.append(one.trial(*reason))
            continue
        progress(f"{trials.budget.requested}: {one.trial(SpreadState.NOT_RUN).words}")
        divided += one.divides_layers
        run = run_spread(trials, one, wanted.price)
        found.runs.append(run)
        on_spread(run.trial)
    return found


def _candidates(
    trials: Trials,
    known: Field,
    wanted: Wanted,
    rows: Sequence[LeverRow],
    found: Searched,
    progress: Progress,
) -> list[Candidate]:
    """Returns the candidates that may fit; the others are kept in `found`."""
    candidates: list[Candidate] = []
    names = " + ".join(row.name for row in rows) or "as requested"
    left: Sequence[Spread] = wanted.spreads
    for position, (level, options) in enumerate(reversed(list(wanted.levels.items()))):
        progress(f"{trials.budget.requested}: {names} on one card, checkpointing {level}")
        try:
            facts = facts_of(trials, rows, level, options)
        except PlannerError as error:
            if position == len(wanted.levels) - 1 and not found.facts:
                raise
            first = wanted.spreads[0]
            found.others.append(failed(first.gpus, first.hosts, rows, str(error), level))
            continue
        if not found.facts:  # what lasts is the same at every level
            left = _may_hold(left, facts, known, found)
        found.facts.append(facts)
        if not left:
            break
        if wanted.quick and not position:
            smallest = _smallest_too_large(trials, known, left, facts, progress)
            if smallest is not None:
                found.runs.append(smallest)
                found.others += _beside(smallest, [candidate_of(one, facts, known) for one in left])
                return []
        at_level = [candidate_of(spread, facts, known) for spread in left]
        if any(one.may_fit for one in at_level):
            counted = found.facts[-1] = with_counts(trials, facts)
            at_level = [candidate_of(spread, counted, known) for spread in left]
        candidates += at_level
        if not any(one.may_fit for one in at_level):
            break  # with less checkpointing it takes more
    return candidates


def _smallest_too_large(
    trials: Trials,
    known: Field,
    spreads: Sequence[Spread],
    facts: StepFacts,
    progress: Progress,
) -> RunSpread | None:
    """Returns the run of the spread that shares most, with one sample, if it does not fit."""
    whole = [one for one in spreads if one.tensor == one.context == 1]
    if not whole:
        return None
    most = max(whole, key=lambda one: (one.state_ranks, not one.keeps_gathered))
    one = candidate_of(most, facts, known)
    progress(f"{trials.budget.requested}: {one.trial(SpreadState.NOT_RUN).words}")
    return too_large_run(trials, one)


def _beside(smallest: RunSpread, others: Sequence[Candidate]) -> list[SpreadTrial]:
    """Returns what becomes of the others where the one that shares most does not fit."""
    found = []
    for one in others:
        if one.spread == smallest.candidate.spread:
            continue
        if one.divides_layers:
            found.append(one.trial(SpreadState.NOT_RUN, _DIVIDED_LATER))
        else:
            reason = f"it holds more than {smallest.trial.words}"
            found.append(one.trial(SpreadState.TOO_LARGE, reason))
    return found


def _may_hold(
    spreads: Sequence[Spread], facts: StepFacts, known: Field, found: Searched
) -> list[Spread]:
    left = []
    for spread in spreads:
        out = not_dealt_out(spread, facts, known) or too_large(spread, facts, known)
        if out is None:
            left.append(spread)
        else:
            found.others.append(replace(out, checkpoint=ANY_LEVEL))
    return left


def failed(
    gpus: int, hosts: int, rows: Sequence[LeverRow], reason: str, level: str = ANY_LEVEL
) -> SpreadTrial:
    """Returns what is said of all spreads with levers, where the step does not run on one card."""
    return SpreadTrial(
        gpus=gpus,
        hosts=hosts,
        parallel="",
        arguments=(),
        checkpoint=level,
        levers=tuple(row.name for row in rows),
        state=SpreadState.CANNOT_APPLY,
        reason=reason.partition("\n")[0],
    )


def _not_worth_a_run(
    one: Candidate, found: Searched, wanted: Wanted, divided: int
) -> tuple[SpreadState, str] | None:
    """Returns why a candidate is not run; None: it is."""
    if wanted.quick and not one.may_fit:
        return SpreadState.NOT_RUN, (
            f"by arithmetic about {format_bytes(one.expected_bytes)} of tensors a card, more than "
            "it has, and other levers take less"
        )
    if wanted.quick and one.divides_layers:
        return SpreadState.NOT_RUN, _DIVIDED_LATER
    fit = found.best(by_gpus=wanted.by_gpus)
    smaller = next((run for run in found.runs if _holds_less(run, one, wanted)), None)
    if smaller is not None:
        return SpreadState.TOO_LARGE, f"it holds more than {smaller.trial.words}"
    if len(found.runs) >= _MOST_RUN:
        return SpreadState.NOT_RUN, f"{_MOST_RUN} others that promised more were run"
    if one.divides_layers and divided >= _MOST_DIVIDED:
        return SpreadState.NOT_RUN, "another one that divides layers and promised more was run"
    if not fit:
        return None
    if not one.may_fit:
        return SpreadState.NOT_RUN, (
            f"by arithmetic about {format_bytes(one.expected_bytes)} of tensors a card, more than "
            "it has, and others fit"
        )
    factor = _expected_factor(one, fit[0], wanted)
    if one.divides_layers:
        if factor is None or factor < _DIVIDED_FACTOR:
            return None
        return SpreadState.SLOWER, (
            f"without the messages of divided layers x {format_significant(factor)} the time of "
            "the plan, and they come on top"
        )
    if len(fit) < _LEAST_FITTING or factor is None or factor <= _NEAR_FACTOR:
        return None
    return SpreadState.SLOWER, f"by arithmetic x {format_significant(factor)} the time of the plan"


def _holds_less(run: RunSpread, one: Candidate, wanted: Wanted) -> bool:
    """Returns whether a run does not fit with one sample, and the candidate holds more than it.

    That is so where state is divided among fewer ranks, where parameters stay gathered, and where
    fewer blocks are checkpointed.
    """
    if run.trial.state is not SpreadState.TOO_LARGE or run.trial.batch_size != 1:
        return False
    small, large = run.candidate.spread, one.spread
    levels = list(wanted.levels)
    at, of_run = (levels.index(of.facts.checkpoint) for of in (one, run.candidate))
    return (
        (small.tensor, small.context) == (large.tensor, large.context)
        and small.data is DataParallel.FSDP
        and large.state_ranks <= small.state_ranks
        and (large.keeps_gathered or not small.keeps_gathered)
        and at <= of_run
    )


def _expected_factor(one: Candidate, best: RunSpread, wanted: Wanted) -> float | None:
    """Returns the time to expect for a sample over that of the best; None: not known.

    The forecasts of both are compared, because they leave the same things out.
    """
    expected_s, of_best_s = one.sample_s, best.candidate.sample_s
    if expected_s is None or of_best_s is None:
        return None
    factor = expected_s / of_best_s
    return factor * one.spread.gpus / best.candidate.spread.gpus if wanted.by_gpus else factor
