"""Describes a step from one run and one count on one card: what lasts, what a sample takes.

In: trials of the step, changes of it. Out: StepFacts. Convention: bytes are those of the whole
model on one card with enough memory; arithmetic divides them by the degrees of a spread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from planner.config.step import StepConfig
from planner.errors import PlannerError
from planner.estimation.advice.combine import merged
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Trials
from planner.estimation.batch_counts import BatchCounts
from planner.estimation.device_memory import model_error
from planner.estimation.largest_search import RecordedStep, recorded_run
from planner.memory.scaling import FIRST_ALIKE
from planner.results.parallelization import HeldBytes
from planner.wire.module_counts import ModelCounts, ModuleCounts
from planner.wire.trace import FREES, AllocationTrace, EventKind, Phase, RunOutcome, TensorCategory

_BLOCK_DEPTH = 4  # blocks are at most so deep, like model.layers.0
_LEAST_BLOCKS = 2
_LASTING = (
    TensorCategory.PARAMETER,
    TensorCategory.BUFFER,
    TensorCategory.GRADIENT,
    TensorCategory.OPTIMIZER_STATE,
)
_OF_SAMPLES = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.BETWEEN_STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """A step on one card, with levers and a level of checkpointing.

    `options` set the level, `changes` are all that differ from the request. `sample_bytes` are what
    one sample of a micro-batch takes beside what lasts. `modules` are those of the counted step,
    and `at` gives the counts at any micro-batch; None: the step was not counted.
    """

    rows: tuple[LeverRow, ...]
    checkpoint: str
    options: Mapping[str, Any]
    changes: Mapping[str, Any]
    config: StepConfig
    recorded: RecordedStep
    held: HeldBytes
    sample_bytes: float
    modules: tuple[ModuleCounts, ...] = ()
    at: Callable[[int], ModelCounts] | None = None

    @property
    def elements(self) -> int:
        """Returns the elements of all parameters."""
        counts = self.recorded.trace.counts
        return 0 if counts is None else counts.parameters

    @property
    def units(self) -> tuple[int, ...]:
        """Returns the elements that FSDP gathers at a time: those of each block, then the rest."""
        blocks = blocks_of(self.modules)
        rest = self.elements - sum(blocks)
        return (*blocks, *((rest,) if rest > 0 else ()))


def facts_of(
    trials: Trials, rows: Sequence[LeverRow], checkpoint: str, options: Mapping[str, Any]
) -> StepFacts:
    """Runs the step on one card; `options` set the level `checkpoint`. It is not counted yet.

    Raises:
        PlannerError: the step does not run so.
    """
    changes = {**merged(rows), **options, "batch_size": FIRST_ALIKE, "accumulate": 1}
    setup = trials.setup_of(trials.request_of(changes))
    run = recorded_run(setup.runner, setup.cards.unlimited(trials.budget), setup.config)
    if run.trace.outcome is RunOutcome.MODEL_ERROR:
        raise model_error(run.trace)
    held, sample_bytes = _held(run, tuple(row.name for row in rows))
    return StepFacts(
        rows=tuple(rows),
        checkpoint=checkpoint,
        options=dict(options),
        changes=changes,
        config=setup.config,
        recorded=run,
        held=held,
        sample_bytes=sample_bytes,
    )


def with_counts(trials: Trials, facts: StepFacts) -> StepFacts:
    """Returns the facts with the counts of the step, as far as it can be counted."""
    session = trials.session_of(trials.request_of(facts.changes))
    profile, runner = session.child.cards.unlimited(trials.budget), session.child.runner

    def count(batch_size: int) -> ModelCounts:
        config = replace(facts.config, batch_size=batch_size)
        if batch_size == facts.config.batch_size:
            return runner.inspect(profile, config, _BLOCK_DEPTH)
        return runner.count(profile, config)

    counts = BatchCounts(count, facts.config.batch_size)
    with suppress(PlannerError):  # without counts there is no forecast, and the memory is known
        return replace(facts, modules=counts.counted(facts.config.batch_size).modules, at=counts.at)
    return facts


def _held(run: RecordedStep, levers: tuple[str, ...]) -> tuple[HeldBytes, float]:
    if run.allocations is None:  # its parameters are known
        sizes = () if run.trace.counts is None else run.trace.counts.weight_dtypes
        weights_bytes = sum(one.size_bytes for one in sizes)
        others_bytes = max(0, run.trace.peak_allocated_bytes - weights_bytes)
        held = HeldBytes(
            levers=levers, parameter_bytes=weights_bytes, gradient_bytes=0, optimizer_bytes=0
        )
        return held, others_bytes / run.trace.batch_size
    most, samples_bytes = most_alive(run.allocations)
    held = HeldBytes(
        levers=levers,
        parameter_bytes=most.get(TensorCategory.PARAMETER, 0),
        gradient_bytes=most.get(TensorCategory.GRADIENT, 0),
        optimizer_bytes=most.get(TensorCategory.OPTIMIZER_STATE, 0),
    )
    return held, samples_bytes / run.trace.batch_size


def most_alive(allocations: AllocationTrace) -> tuple[dict[TensorCategory, int], int]:
    """Returns the most bytes of each category at a time, and of all that samples take.

    The latter is what is not kept from step to step, outside of the optimizer's step.
    """
    alive: dict[int, tuple[TensorCategory | None, int]] = {}
    now: defaultdict[TensorCategory | None, int] = defaultdict(int)
    most: defaultdict[TensorCategory | None, int] = defaultdict(int)
    for event in allocations.events:
        if event.kind is EventKind.ALLOC:
            lasts = event.category in _LASTING
            if not lasts and event.phase not in _OF_SAMPLES:
                continue
            kind = event.category if lasts else None
            alive[event.block] = (kind, event.size_bytes)
            now[kind] += event.size_bytes
            most[kind] = max(most[kind], now[kind])
        elif event.kind in FREES and event.block in alive:
            kind, size_bytes = alive.pop(event.block)
            now[kind] -= size_bytes
    found = {kind: size_bytes for kind, size_bytes in most.items() if kind is not None}
    return found, most.get(None, 0)


def blocks_of(modules: Sequence[ModuleCounts]) -> tuple[int, ...]:
    """Returns the elements of the repeated blocks: modules of one class in one container.

    Of several such groups it is the one with most parameters; empty: there is none.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for module in modules:
        parent, dot, name = module.path.rpartition(".")
        if (name if dot else module.path).isdecimal() and module.parameters:
            groups[parent, module.kind].append(module.parameters)
    found = [tuple(group) for group in groups.values() if len(group) >= _LEAST_BLOCKS]
    return max(found, key=sum, default=())
