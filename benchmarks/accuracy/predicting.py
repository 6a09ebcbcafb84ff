"""Predicts the cases of one group: runs one model on emulated cards.

In: Cases that share a model and its settings. Out: a Prediction each, also if a run fails. Runs in
the source's environment. The model file sets cuDNN's benchmark mode. The times of its engines are
unknown: on the emulated card the engine with the least workspace wins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.accuracy.records import (
    BRACKET_TOLERANCE_FRACTION,
    Case,
    Judging,
    Prediction,
    Quantity,
    Source,
)
from benchmarks.accuracy.sources import SOURCES
from benchmarks.record.emulated import (
    TROUBLES,
    Opened,
    card_budget,
    config_of,
    first_line,
    opened,
)
from benchmarks.record.records import Step, step_of
from planner.config.step import Mode
from planner.emulator.profile import UNLIMITED_BYTES
from planner.errors import PlannerError
from planner.estimation.alloc_conf import allocator_plan
from planner.memory.allocator.replay import replay, requests_of
from planner.memory.budget import MemoryBudget
from planner.wire.trace import RequestLog, RunOutcome, StepTrace

_FLOAT16_BYTES = 2


def answers(documents: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the prediction of each case of a group, as plain values."""
    yield from map(asdict, predictions([decoded(one) for one in documents]))


def decoded(document: dict[str, Any]) -> Case:
    """Returns the case of which `asdict` made plain values."""
    quantity, step = Quantity(document["quantity"]), step_of(document["step"])
    return Case(**{**document, "quantity": quantity, "step": step})


def predictions(cases: Sequence[Case]) -> Iterator[Prediction]:
    """Yields one prediction for each case of a group, in order."""
    source, first = SOURCES[cases[0].source], cases[0].step
    try:
        with opened(first, budget_of(source, first.card)) as child:
            model = _Model(source=source, opened=child)
            for case in cases:
                yield model.predict(case)
    except TROUBLES as error:
        for case in cases:
            yield Prediction(case=case.name, trouble=first_line(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A child that has loaded the model of a group."""

    source: Source
    opened: Opened
    known: dict[Step, Prediction] = field(default_factory=dict)

    def predict(self, case: Case) -> Prediction:
        """Runs the step, or takes what another figure of the same run gave."""
        if case.measured_bytes is not None and case.step in self.known:
            return replace(self.known[case.step], case=case.name, seconds=0.0)
        started = time.perf_counter()
        try:
            found = self._bracketed(case) if case.measured_bytes is None else self._figure(case)
        except PlannerError as error:
            found = Prediction(case=case.name, trouble=first_line(error))
        found = replace(found, seconds=round(time.perf_counter() - started, 2))
        self.known[case.step] = found
        return found

    def _figure(self, case: Case) -> Prediction:
        """Predicts the peaks on the card, or without its limit if the step does not fit."""
        cards, runner = self.opened.cards, self.opened.runner
        budget, config = self._budget(case), config_of(case.step)
        behind = "" if case.launches_behind is None else f"launch_lag={case.launches_behind}\n"
        trace, log = runner.requests(cards.limited(budget) + behind, config)
        fits = trace.outcome is not RunOutcome.OUT_OF_MEMORY
        if not fits:
            trace, log = runner.requests(cards.unlimited(budget) + behind, config)
        without = self._without_workspaces(log) if self.source.judging is Judging.OFFSET else None
        return replace(_prediction(case, trace), fits=fits, without_workspaces_bytes=without)

    def _without_workspaces(self, log: RequestLog | None) -> int | None:
        """Returns the peak reserved without cuDNN's workspaces, to show their share of an error.

        A request counts as a workspace if cuDNN has named its size.
        """
        settings = allocator_plan((), self.opened.cards.torch.version).in_force
        if log is None or settings is None:
            return None
        named = frozenset(log.workspace_sizes_bytes)
        requests = requests_of(log)
        blocks = {one.block for one in requests if one.size_bytes in named}
        rest = [one for one in requests if one.block not in blocks]
        return replay(rest, settings, capacity_bytes=UNLIMITED_BYTES).peak_reserved_bytes

    def _bracketed(self, case: Case) -> Prediction:
        """Predicts whether the batch fits; if that is wrong, also the memory that it needs."""
        cards, runner = self.opened.cards, self.opened.runner
        budget, config = self._budget(case), config_of(case.step)
        trace = runner.run(cards.limited(budget), config)
        if trace.outcome is RunOutcome.MODEL_ERROR:
            return _prediction(case, trace)
        fits = trace.outcome is RunOutcome.COMPLETED
        fits_smaller: bool | None = None
        if trace.outcome is RunOutcome.OUT_OF_MEMORY and case.quantity is Quantity.FITS:
            trace = runner.run(cards.unlimited(budget), config)
        elif fits and case.quantity is Quantity.OUT_OF_MEMORY:
            smaller = round(budget.usable_memory_bytes * (1 - BRACKET_TOLERANCE_FRACTION))
            tighter = replace(budget, usable_memory_bytes=smaller)
            again = runner.run(cards.limited(tighter), config)
            fits_smaller = again.outcome is RunOutcome.COMPLETED
        found = replace(_prediction(case, trace), fits=fits, fits_smaller=fits_smaller)
        if config.mode is Mode.INFER and case.quantity is Quantity.OUT_OF_MEMORY:
            found = replace(found, largest_elements=self._largest_elements(case))
        return found

    def _largest_elements(self, case: Case) -> int | None:
        """Returns the elements of the largest tensor as float16; None if no run shows it."""
        cards, runner = self.opened.cards, self.opened.runner
        budget, config = self._budget(case), config_of(case.step)
        _, log = runner.requests(cards.unlimited(budget), replace(config, steps=1))
        if log is None:
            return None
        workspaces = frozenset(log.workspace_sizes_bytes)
        sizes = [size for size in log.sizes_bytes if size not in workspaces]
        return max(sizes, default=0) // _FLOAT16_BYTES

    def _budget(self, case: Case) -> MemoryBudget:
        return budget_of(self.source, case.step.card)


def budget_of(source: Source, card: str) -> MemoryBudget:
    """Returns the memory budget of the card as it was in the measurement."""
    figures = source.card_figures
    if figures is None:
        return card_budget(card)
    budget = card_budget(card, figures.usable_bytes)
    if figures.context_bytes is None:
        return budget
    loaded = replace(budget.card, context_overhead_bytes=figures.context_bytes)
    return replace(budget, card=loaded)


def _prediction(case: Case, trace: StepTrace) -> Prediction:
    if trace.outcome is RunOutcome.MODEL_ERROR:
        assert trace.failure is not None
        said = f"{trace.failure.kind} in {trace.failure.during}: {trace.failure.message}"
        return Prediction(case=case.name, trouble=said.splitlines()[0][:200])
    return Prediction(
        case=case.name,
        peak_allocated_bytes=trace.peak_allocated_bytes,
        peak_active_bytes=trace.peak_active_bytes,
        peak_reserved_bytes=trace.peak_reserved_bytes,
        parameters=None if trace.counts is None else trace.counts.parameters,
        warning="" if not trace.warnings else trace.warnings[0][:200],
    )
