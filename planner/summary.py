"""From the answers of the cards to the Estimate: figures, assumptions and warnings in one record.

In: CardAnswers. Out: Estimate. An assumption that does not hold for every card names its card.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from planner.card_run import CardAnswer
from planner.memory.capacity import BATCH_BOUND
from planner.module_counts import ModelCounts
from planner.results import Estimate, GpuEstimate, Versions
from planner.trace import Counts, StepTrace, ValueRead
from planner.workload import StepConfig

_READS_SHOWN = 5


def summarize(
    target: str,
    config: StepConfig,
    answers: Sequence[CardAnswer],
    versions: Versions,
    run_warnings: Sequence[str],
) -> Estimate:
    """The Estimate of one target on all cards asked for."""
    first = answers[0].trace
    return Estimate(
        target=target,
        config=config,
        counts=first.counts or Counts(parameters=0, trainable_parameters=0, buffers=0),
        gpus=tuple(_gpu(answer) for answer in answers),
        versions=versions,
        optimizer=first.optimizer,
        build_on=first.build_on,
        assumptions=(*_shared(answers, _assumptions), *_environment(config)),
        warnings=(*_shared(answers, _warnings), *dict.fromkeys(run_warnings)),
    )


def _gpu(answer: CardAnswer) -> GpuEstimate:
    budget, trace, capacity = answer.budget, answer.trace, answer.capacity
    return GpuEstimate(
        requested=budget.requested,
        name=budget.card.name,
        total_memory_bytes=budget.card.total_memory_bytes,
        usable_memory_bytes=budget.usable_memory_bytes,
        context_overhead_bytes=budget.context_overhead_bytes,
        reserve_bytes=budget.reserve_bytes,
        peak_allocated_bytes=trace.peak_allocated_bytes,
        peak_reserved_bytes=trace.peak_reserved_bytes,
        fits=answer.fits,
        max_batch_size=None if capacity is None else capacity.max_batch_size,
        max_batch_is_bound=capacity is not None and capacity.is_bound,
        batch_1_missing_bytes=_batch_1_missing(answer),
        attention_backends=trace.attention_backends,
        note=budget.note,
        breakdown=answer.breakdown,
    )


def _batch_1_missing(answer: CardAnswer) -> int | None:
    if answer.batch_1 is None:
        return None
    return max(1, answer.batch_1.peak_reserved_bytes - answer.budget.capacity_bytes)


def _shared(
    answers: Sequence[CardAnswer], texts: Callable[[CardAnswer], Sequence[str]]
) -> tuple[str, ...]:
    """Texts of all cards, once each; with the card's name where not every card has it."""
    per_card = [(answer.budget.requested, texts(answer)) for answer in answers]
    every = dict.fromkeys(text for _, found in per_card for text in found)
    said: list[str] = []
    for text in every:
        holders = [name for name, found in per_card if text in found]
        said.append(text if len(holders) == len(per_card) else f"{', '.join(holders)}: {text}")
    return tuple(said)


def _assumptions(answer: CardAnswer) -> tuple[str, ...]:
    note = answer.budget.note
    named = () if note is None else (note,)
    return (*named, *answer.trace.assumptions, *value_reads(answer.trace))


def value_reads(trace: StepTrace | ModelCounts) -> tuple[str, ...]:
    """Reads of the user's code from the card: each may have steered the model with a zero."""
    reads = trace.value_reads
    if not reads:
        return ()
    shown = "; ".join(_place(read) for read in reads[:_READS_SHOWN])
    more = f"; and {len(reads) - _READS_SHOWN} more places" if len(reads) > _READS_SHOWN else ""
    return (f"values read from the card are zero here, and may steer the model: {shown}{more}",)


def _place(read: ValueRead) -> str:
    path = Path(read.file)
    with suppress(ValueError):  # not under the current folder: the whole path
        path = path.relative_to(Path.cwd())
    times = f", {read.count} times" if read.count > 1 else ""
    return f"{path}:{read.line} in {read.function}{times}"


def _warnings(answer: CardAnswer) -> tuple[str, ...]:
    capacity = answer.capacity
    found = list(answer.trace.warnings)
    if capacity is not None and capacity.is_bound:
        found.append(
            f"{answer.budget.requested}: the search for the largest batch stopped at its bound of "
            f"{BATCH_BOUND}; memory is not what limits the batch"
        )
    if capacity is not None and capacity.error is not None:
        found.append(
            f"{answer.budget.requested}: batch {capacity.error.batch_size} fails for another "
            f"reason than memory: {capacity.error.detail}"
        )
    return tuple(found)


def _environment(config: StepConfig) -> tuple[str, ...]:
    variable = "PYTORCH_CUDA_ALLOC_CONF"
    inherited = os.environ.get(variable)
    if inherited is None or config.alloc_conf is not None:
        return ()
    return (f"{variable}={inherited} of this environment is in force",)
