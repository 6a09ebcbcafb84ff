"""Answers for many cards at once: the cards of one compute capability share their runs.

In: budgets of cards that run the same kernels. Out: a DeviceMemory for each. Convention: peaks are
those of one recorded run, replayed on each card; largest batches come from replays and are not
confirmed by runs. Where the requests follow no rule, each card is run by itself; where kernels take
buffers for each multiprocessor, the peaks of each chip are those of its own run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.config.options import FOUND_BEFORE
from planner.config.step import StepConfig
from planner.estimation.context import RunContext, side_by_side
from planner.estimation.device_memory import (
    DeviceMemory,
    DeviceMemorySearch,
    beyond_all_cards,
    model_error,
)
from planner.estimation.drawn_runs import drawn_runs
from planner.estimation.probes import ProbeRuns, SearchAxis, probe_of, sample_of
from planner.estimation.replayed_card import replayed_on_card
from planner.hardware.specs import SmLimits
from planner.memory.allocator.replay import Request
from planner.memory.budget import MemoryBudget
from planner.memory.largest import LargestValue, ReplayTarget, SearchStart, forecasts
from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.scaling import FIRST_ALIKE, Sample
from planner.memory.search import Capacity
from planner.units import format_bytes
from planner.wire.trace import EventKind, RequestLog, RunOutcome, StepTrace

# For each parameter: weight, gradient and two states of Adam in float32. Used only for a guess.
_BYTES_PER_PARAMETER = 16
_Run = tuple[StepTrace, Sequence[Request]]
_Chip = tuple[int, int, SmLimits]  # what kernels can see of a card


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedDevices:
    """The cards of one compute capability; the runs are made on the one with most memory.

    Some kernels take buffers for each multiprocessor: where another chip makes other requests for
    the requested batch, each chip has a run of its own for its peaks.
    """

    setup: RunContext
    budgets: tuple[MemoryBudget, ...]

    def answers(self, search: bool) -> list[DeviceMemory]:
        """Returns an answer for each card, in order.

        Raises:
            ModelError: the user's code raised for the requested batch.
            ChildError: a run was killed or took too long.
        """
        first = max(self.budgets, key=lambda budget: budget.capacity_bytes)
        major, minor = first.card.compute_capability
        setup, asked = self.setup, self.setup.config.batch_size
        group = f"compute capability {major}.{minor}"
        setup.progress(f"{group}: batch {asked}")
        trace, log = setup.runner.requests(setup.cards.unlimited(first), setup.config)
        if trace.outcome is RunOutcome.MODEL_ERROR:
            raise model_error(trace)
        if search and trace.outcome is RunOutcome.COMPLETED:
            peak = f"peak reserved {format_bytes(trace.peak_reserved_bytes)}"
            setup.progress(f"{group}: {peak}{FOUND_BEFORE}searching the largest batches")
        budgets = tuple(setup.with_outside(budget, trace) for budget in self.budgets)
        return replace(self, budgets=budgets)._answers(search, trace, log)

    def _answers(
        self, search: bool, trace: StepTrace, log: RequestLog | None
    ) -> list[DeviceMemory]:
        first = max(self.budgets, key=lambda budget: budget.capacity_bytes)
        setup, asked = self.setup, self.setup.config.batch_size
        if trace.outcome is RunOutcome.OUT_OF_MEMORY:
            beyond = beyond_all_cards(trace)
            return [DeviceMemory(budget=b, trace=beyond, fits=False) for b in self.budgets]
        if log is None or setup.plan.in_force is None:
            return self._one_by_one(search)
        sample = sample_of(asked, log)
        largest: Sequence[LargestValue | None] = [None] * len(self.budgets)
        if search:
            found = self._forecasts(first, sample, trace)
            if found is None:
                return self._one_by_one(search)
            largest = found
        values, spread = drawn_runs(setup, first, trace)
        batch_1 = None
        if any(found is not None and not found.capacity.largest for found in largest):
            batch_1 = setup.runner.run(setup.cards.unlimited(first), self._of_1())
        runs = self._runs_of_chips(first, (trace, sample.requests))
        answers = []
        for budget, batch in zip(self.budgets, largest, strict=True):
            own = runs[_chip(budget)]
            if own is None:
                answers.append(DeviceMemorySearch(setup=setup, budget=budget).answer(search))
                continue
            budget = setup.with_outside(budget, own[0])
            answer = self._answer(budget, *own, batch, batch_1)
            answers.append(replace(answer, values=values, reserved_spread=spread))
        return answers

    def _runs_of_chips(self, first: MemoryBudget, run: _Run) -> dict[_Chip, _Run | None]:
        """Returns a run for each chip; None where its requests are not known.

        The chip whose number of multiprocessors is farthest from that of `first` is run too. If
        it makes the same requests, they are those of all chips; else each is run.

        Raises:
            ModelError: the user's code raised on one of them.
        """
        by_chip: dict[_Chip, MemoryBudget] = {_chip(first): first}
        for budget in self.budgets:
            by_chip.setdefault(_chip(budget), budget)
        found: dict[_Chip, _Run | None] = {_chip(first): run}
        others = sorted(by_chip.keys() - found.keys(), key=lambda one: -_distance(one, first))
        for index, chip in enumerate(others):
            found[chip] = self._run_of(by_chip[chip])
            if not index and _are_alike(run, found[chip]):
                return dict.fromkeys(by_chip, run)
        return found

    def _run_of(self, budget: MemoryBudget) -> _Run | None:
        setup = self.setup
        trace, log = setup.runner.requests(setup.cards.unlimited(budget), setup.config)
        if trace.outcome is RunOutcome.MODEL_ERROR:
            raise model_error(trace)
        if log is None or trace.outcome is not RunOutcome.COMPLETED:
            return None
        return trace, sample_of(setup.config.batch_size, log).requests

    def _one_by_one(self, search: bool) -> list[DeviceMemory]:
        runs = [DeviceMemorySearch(setup=self.setup, budget=budget) for budget in self.budgets]
        return [run.answer(search) for run in runs]

    def _forecasts(
        self, first: MemoryBudget, sample: Sample, trace: StepTrace
    ) -> list[LargestValue] | None:
        asked = max(FIRST_ALIKE, self.setup.config.batch_size)
        cards = [self.setup.replayed_card(budget) for budget in self.budgets]
        beginning = SearchStart(
            values=(asked, self._second(asked, trace)),
            sample=sample if sample.value == asked else None,
            known=(),
            start=asked,
        )
        runs = ProbeRuns(setup=self.setup, budget=first, axis=SearchAxis.BATCH)
        found = forecasts(runs.tries(), cards, beginning)
        return None if found is None else self._with_smaller(runs, cards, found, asked)

    def _with_smaller(
        self, runs: ProbeRuns, cards: Sequence[ReplayTarget], found: list[LargestValue], asked: int
    ) -> list[LargestValue]:
        """Searches anew, from two smaller samples, the cards on which no sample fits."""
        small = [index for index, one in enumerate(found) if not one.capacity.largest]
        if not small or asked <= FIRST_ALIKE:
            return found
        beginning = SearchStart(
            values=(FIRST_ALIKE, max(FIRST_ALIKE + 1, asked // 2)),
            sample=None,
            known=(),
            start=asked,
        )
        again = forecasts(runs.tries(), [cards[index] for index in small], beginning)
        answers = list(found)
        for index, one in zip(small, again or [], strict=False):
            answers[index] = one
        return answers

    def _second(self, asked: int, trace: StepTrace) -> int:
        """Returns the second batch to sample: one that about fills the card of median capacity."""
        capacities = sorted(budget.capacity_bytes for budget in self.budgets)
        middle = capacities[len(capacities) // 2]
        parameters = 0 if trace.counts is None else trace.counts.parameters
        fixed = min(_BYTES_PER_PARAMETER * parameters, trace.peak_allocated_bytes * 7 // 8)
        growing = max(1, trace.peak_allocated_bytes - fixed)
        guess = max(FIRST_ALIKE, (middle - fixed) * self.setup.config.batch_size // growing)
        return guess if guess != asked else asked + 1

    def _answer(
        self,
        budget: MemoryBudget,
        trace: StepTrace,
        requests: Sequence[Request],
        batch: LargestValue | None,
        batch_1: StepTrace | None,
    ) -> DeviceMemory:
        if batch is None or batch.capacity.largest or batch_1 is None:
            batch_1 = None
        else:
            batch = self._smallest(budget, batch, batch_1)
        settings = self.setup.plan.in_force
        assert settings is not None, "else the cards are run one by one"
        full = replayed_on_card(budget, trace, requests, settings)
        return DeviceMemory(
            budget=budget,
            trace=full or trace,
            fits=full is not None,
            batch=batch,
            requests=tuple(requests),
            batch_1=batch_1,
        )

    def _smallest(self, budget: MemoryBudget, batch: LargestValue, free: StepTrace) -> LargestValue:
        """Decides by a run whether batch 1 fits: it makes other requests than the samples."""
        probe = probe_of(1, free)
        if (
            free.outcome is RunOutcome.COMPLETED
            and free.peak_reserved_bytes > budget.capacity_bytes
        ):
            probe = Probe(value=1, outcome=ProbeOutcome.OOM)
            if free.peak_allocated_bytes <= budget.capacity_bytes:
                limited = self.setup.cards.limited(budget)
                probe = probe_of(1, self.setup.runner.run(limited, self._of_1()))
        fits = probe.outcome is ProbeOutcome.FITS
        capacity = Capacity(largest=int(fits), is_bound=False, probes=(probe,))
        return replace(batch, capacity=capacity, is_confirmed=not fits)

    def _of_1(self) -> StepConfig:
        return replace(self.setup.config, batch_size=1)


def _chip(budget: MemoryBudget) -> _Chip:
    card = budget.card
    return card.streaming_multiprocessors, card.l2_bytes, card.limits


def _distance(chip: _Chip, first: MemoryBudget) -> int:
    return abs(chip[0] - first.card.streaming_multiprocessors)


def _are_alike(one: _Run, other: _Run | None) -> bool:
    """Returns whether two runs made the same requests, whatever the names of their blocks."""
    return other is not None and _without_names(one[1]) == _without_names(other[1])


def _without_names(requests: Sequence[Request]) -> list[tuple[EventKind, int, int]]:
    return [(kind, size_bytes, stream) for kind, _, size_bytes, stream in requests]


def answers_by_device(
    setup: RunContext, budgets: Sequence[MemoryBudget], *, search: bool
) -> list[DeviceMemory]:
    """Answers for each card by its own runs, one card per processor at a time."""
    runs = [DeviceMemorySearch(setup=setup, budget=budget) for budget in budgets]
    return side_by_side(lambda run: run.answer(search), runs)


def answers_by_group(
    setup: RunContext, budgets: Sequence[MemoryBudget], *, search: bool
) -> list[DeviceMemory]:
    """Returns answers in the order of the budgets, for cards of any compute capability."""
    alike: dict[tuple[int, int], list[MemoryBudget]] = {}
    for budget in budgets:
        alike.setdefault(budget.card.compute_capability, []).append(budget)
    surveys = [GroupedDevices(setup=setup, budgets=tuple(group)) for group in alike.values()]
    found = side_by_side(lambda group: group.answers(search), surveys)
    by_name = {answer.budget.requested: answer for group in found for answer in group}
    return [by_name[budget.requested] for budget in budgets]
