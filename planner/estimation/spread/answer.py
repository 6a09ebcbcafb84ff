"""Finds the plan: as requested, else with levers that take less memory, and the fewest cards.

In: Question. Out: Answer. Convention: levers are tried quickly first; all that is left is run only
where nothing else fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from planner.config.parallel_words import GPUS_OF_A_HOST
from planner.errors import PlannerError
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Trials
from planner.estimation.device_timing import price_of
from planner.estimation.request import EstimateRequest
from planner.estimation.session import EstimationSession
from planner.estimation.spread.candidates import Field, levels_of
from planner.estimation.spread.confirm import Confirmed, confirmed
from planner.estimation.spread.lever_sets import lever_sets, saves_only_temporaries
from planner.estimation.spread.parallel_plan import plan_of
from planner.estimation.spread.search import OnSpread, Searched, Wanted, failed, searched
from planner.estimation.spread.smallest import Sizes, sizes_tried, smallest_job
from planner.estimation.spread.spreads import Spread, sizes_of_jobs, spreads
from planner.results.parallelization import ParallelPlan, PreferBy, SmallestJob

_MOST_CONFIRMED = 3  # spreads that are run on the full card; a replay is seldom wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and the means to answer it."""

    session: EstimationSession
    trials: Trials
    asked: EstimateRequest
    num_gpus: int
    num_hosts: int
    global_batch: int | None
    by: PreferBy
    on_spread: OnSpread

    @property
    def by_gpus(self) -> bool:
        """Returns whether the rent of a sample is to be small."""
        return self.by is PreferBy.COST

    @property
    def per_host(self) -> int:
        """Returns the GPUs of a machine, also for another number of them."""
        named = sum(number for _, number in self.session.request.cards_of_host)
        if self.num_hosts > 1:
            return self.num_gpus // self.num_hosts
        return max(named or GPUS_OF_A_HOST, self.num_gpus)

    @property
    def known(self) -> Field:
        """Returns what arithmetic needs."""
        return Field(
            budget=self.trials.budget,
            job=self.trials.request,
            network=self.trials.network_of,
            global_batch=self.global_batch,
        )

    @property
    def wanted(self) -> Wanted:
        """Returns what is searched."""
        config = self.asked.config
        is_given = config.checkpoint_activations or config.checkpoint_blocks is not None
        return Wanted(
            spreads=tuple(self._spreads()),
            levels=levels_of(is_given),
            price=price_of(self.trials.budget.spec, self.trials.request),
            by_gpus=self.by_gpus,
        )

    def _spreads(self) -> Iterator[Spread]:
        """Yields the spreads; by cost also those of fewer GPUs, each twice as many."""
        if self.by_gpus:
            least = 1
            for gpus, hosts in sizes_of_jobs(self.per_host, self.num_gpus - 1):
                if gpus >= least:
                    yield from spreads(gpus, hosts)
                    least = 2 * gpus
        yield from spreads(self.num_gpus, self.num_hosts)


@dataclass(slots=True)
class Answer:
    """What was found so far."""

    searches: list[Searched] = field(default_factory=list)
    plan: ParallelPlan | None = None
    best: Confirmed | None = None
    smallest: list[SmallestJob] = field(default_factory=list)


def answered(question: Question) -> Answer:
    """Searches as requested, then with levers, until a plan is confirmed.

    Raises:
        PlannerError: the step does not run on one card.
    """
    answer = Answer()
    first = _searched(question, ())
    answer.searches.append(first)
    _confirm(question, answer, first)
    answer.smallest.append(_smallest(question, first))
    sets = [
        rows
        for rows in lever_sets(question.session, question.asked, first.facts[0])
        # what lasts may be too large as it is
        if first.runs or not saves_only_temporaries(rows)
    ]
    for quick in (True, False):  # all that is left, only where nothing else fits
        tried: list[Searched] = []
        for rows in () if answer.plan is not None else sets:
            found = _with_levers(question, answer, rows, quick=quick)
            tried.append(found)
            if answer.plan is not None:
                answer.smallest.append(_smallest(question, found))
                break
        if answer.plan is not None or not quick:
            answer.searches += tried
    return answer


def _with_levers(
    question: Question, answer: Answer, rows: Sequence[LeverRow], *, quick: bool
) -> Searched:
    try:
        found = _searched(question, rows, quick=quick)
    except PlannerError as error:
        at = question.num_gpus, question.num_hosts
        return Searched(others=[failed(*at, rows, str(error))])
    _confirm(question, answer, found)
    return found


def _searched(question: Question, rows: Sequence[LeverRow], *, quick: bool = False) -> Searched:
    return searched(
        question.trials,
        question.known,
        replace(question.wanted, quick=quick),
        rows,
        question.on_spread,
        question.asked.progress,
    )


def _confirm(question: Question, answer: Answer, found: Searched) -> None:
    """Takes the first of the best that a run on the full card confirms."""
    for one in found.best(by_gpus=question.by_gpus)[:_MOST_CONFIRMED]:
        words = one.trial.words
        question.asked.progress(f"{question.trials.budget.requested}: confirming {words}")
        checked = confirmed(question.trials, one)
        if checked is None:
            continue
        found.runs[found.runs.index(one)] = checked.run
        answer.best = checked
        answer.plan = plan_of(
            question.trials,
            question.session.child.label,
            checked,
            price_of(question.trials.budget.spec, question.trials.request),
        )
        return


def _smallest(question: Question, found: Searched) -> SmallestJob:
    facts = found.facts[0]  # with the most checkpointing
    question.asked.progress(f"{question.trials.budget.requested}: the fewest cards that fit")
    sizes = Sizes(per_host=question.per_host, capacity_bytes=question.trials.budget.capacity_bytes)
    return smallest_job(facts, sizes, partial(sizes_tried, question.trials, facts))
