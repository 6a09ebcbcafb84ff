"""Predicts the cases of one group: runs one model on emulated cards.

In: Cases that share a model and its settings. Out: a Prediction each, also if a run fails. Runs in
the source's environment. The model file sets cuDNN's benchmark mode. The times of its engines are
unknown: on the emulated card the engine with the least workspace wins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.accuracy.records import Case, Prediction, Quantity
from benchmarks.accuracy.sources import BRACKET_TOLERANCE_FRACTION, Source
from benchmarks.h100_peaks.measurements import read_measurements
from benchmarks.h100_peaks.run import predict as predict_h100
from planner.config.step import InputSpec, Mode, Precision, StepConfig
from planner.config.target import Target, TargetKind
from planner.emulator.build import emulated_device
from planner.emulator.profile import UNLIMITED_BYTES
from planner.emulator.torch_install import find_torch
from planner.errors import PlannerError
from planner.estimation.alloc_conf import allocator_plan
from planner.estimation.context import ProfileFactory
from planner.memory.allocator.replay import replay, requests_of
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.process.client import Runner
from planner.wire.trace import Outcome, RequestLog, StepTrace

_TIMEOUT_S = 400.0
_FLOAT16_BYTES = 2
_BY_PLANNER = ("image_size", "precision")  # settings that are none of build_model's arguments


def predictions(source: Source, cases: Sequence[Case]) -> Iterator[Prediction]:
    """Yields one prediction for each case of a group, in order."""
    try:
        if source.name == "h100-peaks":
            yield from _h100(cases)
            return
        with _opened(source, cases[0]) as model:
            for case in cases:
                yield model.predict(case)
    except (PlannerError, ImportError) as error:
        for case in cases:
            yield Prediction(case=case.name, trouble=_first_line(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A child that has loaded the model of a group."""

    source: Source
    runner: Runner
    cards: ProfileFactory

    def predict(self, case: Case) -> Prediction:
        started = time.perf_counter()
        try:
            found = self._bracketed(case) if case.measured_bytes is None else self._figure(case)
        except PlannerError as error:
            found = Prediction(case=case.name, trouble=_first_line(error))
        return replace(found, seconds=round(time.perf_counter() - started, 2))

    def _figure(self, case: Case) -> Prediction:
        """Predicts the peaks on the card, or without its limit if the step does not fit."""
        budget, config = self._budget(case), _config(self.source, case)
        trace, log = self.runner.requests(self.cards.limited(budget), config)
        fits = trace.outcome is not Outcome.OUT_OF_MEMORY
        if not fits:
            trace, log = self.runner.requests(self.cards.unlimited(budget), config)
        return replace(
            _prediction(case, trace),
            fits=fits,
            without_workspaces_bytes=self._without_workspaces(log),
        )

    def _without_workspaces(self, log: RequestLog | None) -> int | None:
        """Returns the peak reserved without cuDNN's workspaces, to show their share of an error.

        A request counts as a workspace if cuDNN has named its size.
        """
        settings = allocator_plan((), self.cards.torch.version).in_force
        if log is None or settings is None:
            return None
        named = frozenset(log.workspace_sizes_bytes)
        requests = requests_of(log)
        blocks = {one.block for one in requests if one.size_bytes in named}
        rest = [one for one in requests if one.block not in blocks]
        return replay(rest, settings, capacity_bytes=UNLIMITED_BYTES).peak_reserved_bytes

    def _bracketed(self, case: Case) -> Prediction:
        """Predicts whether the batch fits; if that is wrong, also the memory that it needs."""
        budget, config = self._budget(case), _config(self.source, case)
        trace = self.runner.run(self.cards.limited(budget), config)
        if trace.outcome is Outcome.MODEL_ERROR:
            return _prediction(case, trace)
        fits = trace.outcome is Outcome.COMPLETED
        fits_smaller: bool | None = None
        if trace.outcome is Outcome.OUT_OF_MEMORY and case.quantity is Quantity.FITS:
            trace = self.runner.run(self.cards.unlimited(budget), config)
        elif fits and case.quantity is Quantity.OUT_OF_MEMORY:
            smaller = round(budget.usable_memory_bytes * (1 - BRACKET_TOLERANCE_FRACTION))
            tighter = replace(budget, usable_memory_bytes=smaller)
            again = self.runner.run(self.cards.limited(tighter), config)
            fits_smaller = again.outcome is Outcome.COMPLETED
        found = replace(_prediction(case, trace), fits=fits, fits_smaller=fits_smaller)
        if self.source.mode is Mode.INFER and case.quantity is Quantity.OUT_OF_MEMORY:
            found = replace(found, largest_elements=self._largest_elements(case))
        return found

    def _largest_elements(self, case: Case) -> int | None:
        """Returns the elements of the largest tensor as float16; None if no run shows it."""
        budget, config = self._budget(case), _config(self.source, case)
        _, log = self.runner.requests(self.cards.unlimited(budget), replace(config, steps=1))
        if log is None:
            return None
        workspaces = frozenset(log.workspace_sizes_bytes)
        sizes = [size for size in log.sizes_bytes if size not in workspaces]
        return max(sizes, default=0) // _FLOAT16_BYTES

    def _budget(self, case: Case) -> MemoryBudget:
        return card_budget(self.source, case.card)


def card_budget(source: Source, card: str) -> MemoryBudget:
    """Returns the memory budget of the card as it was in the measurement."""
    figures = source.card_figures
    usable = None if figures is None else figures.usable_bytes
    (budget,) = memory_budgets([card], hardware_db=None, gpu_memory=usable, reserve=0)
    if figures is None:
        return budget
    loaded = replace(budget.card, context_overhead_bytes=figures.context_bytes)
    return replace(budget, card=loaded)


@contextmanager
def _opened(source: Source, case: Case) -> Iterator[_Model]:
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    with Runner(
        _target(source, case),
        device=cards.device,
        profile=cards.unlimited(card_budget(source, case.card)),
        timeout_s=_TIMEOUT_S,
        environment=dict(source.variables),
    ) as runner:
        runner.wait_loaded()
        yield _Model(source=source, runner=runner, cards=cards)


def _target(source: Source, case: Case) -> Target:
    """Returns the model file with its arguments."""
    arguments = [pair for pair in case.settings if pair[0] not in _BY_PLANNER]
    return Target(
        kind=TargetKind.FILE,
        location=str(source.model_file),
        arguments=(("name", case.model), *arguments),
    )


def _config(source: Source, case: Case) -> StepConfig:
    settings = dict(case.settings)
    size = settings.get("image_size")
    images = (InputSpec(shape=(3, size, size)),) if isinstance(size, int) else ()
    return StepConfig(
        batch_size=case.batch_size,
        mode=source.mode,
        precision=Precision(settings.get("precision", Precision.FP32.value)),
        inputs=images,
        set_to_none=source.set_to_none,
        steps=source.steps,
        build_on=source.build_on,
    )


def _prediction(case: Case, trace: StepTrace) -> Prediction:
    if trace.outcome is Outcome.MODEL_ERROR:
        assert trace.failure is not None
        said = f"{trace.failure.kind} in {trace.failure.during}: {trace.failure.message}"
        return Prediction(case=case.name, trouble=said.splitlines()[0][:200])
    return Prediction(
        case=case.name,
        peak_allocated_bytes=trace.peak_allocated_bytes,
        peak_reserved_bytes=trace.peak_reserved_bytes,
        parameters=None if trace.counts is None else trace.counts.parameters,
        warning="" if not trace.warnings else trace.warnings[0][:200],
    )


def _h100(cases: Sequence[Case]) -> Iterator[Prediction]:
    """Yields both quantities of one run, from the H100 comparison, which has its own bounds."""
    wanted = dict(cases[0].settings)["case"]
    (measurement,) = [one for one in read_measurements() if one.case == wanted]
    started = time.perf_counter()
    found = predict_h100(measurement)
    seconds = round((time.perf_counter() - started) / len(cases), 2)
    for case in cases:
        yield Prediction(
            case=case.name,
            peak_allocated_bytes=found.active_bytes,
            peak_reserved_bytes=found.reserved_bytes,
            seconds=seconds,
        )


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
