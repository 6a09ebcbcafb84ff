"""Joins the answers of the cards into the Estimate: figures, assumptions, warnings in one record.

In: DeviceMemory of each card. Out: Estimate. An assumption that does not hold for every card names
its card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeVar

from planner.config.step import StepConfig
from planner.config.weights import settled
from planner.estimation.alloc_conf import AllocatorPlan
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.device_timing import DeviceTiming
from planner.estimation.full_state import (
    full_state_of,
    full_state_warnings,
    unknown_full_state,
)
from planner.estimation.prediction_interval import PredictionInterval, outlook
from planner.estimation.probes import Axis, SearchAxis
from planner.estimation.size_axes import FramesAxis, ImageAxis
from planner.memory.budget import Calibration
from planner.memory.interval import ErrorInterval, NoInterval
from planner.memory.largest import LargestValue, Method
from planner.memory.search import BOUND
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate, Versions
from planner.units import format_bytes
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import Counts

_SizeT = TypeVar("_SizeT", ImageAxis, FramesAxis)
_View = tuple[DeviceMemory, PredictionInterval | None]

_READS_SHOWN = 5
_NAMES_SHOWN = 4
_NOT_RUN = (
    "largest batches come from replays of a few runs for each compute capability; ask for a card "
    "by its name to have its largest batch confirmed by runs"
)


def assemble(
    target: str,
    config: StepConfig,
    answers: Sequence[DeviceMemory],
    versions: Versions,
    run_warnings: Sequence[str],
    *,
    plan: AllocatorPlan | None = None,
    counted: ModelCounts | None = None,
    spreads: Sequence[ErrorInterval | NoInterval] = (),
    speeds: Sequence[DeviceTiming] = (),
    is_survey: bool = False,
) -> Estimate:
    """Returns the Estimate of a target on all cards; `spreads` and `speeds` are in `answers` order.

    A survey of every card suggests no batch: that would take longer than its runs.
    """
    first = answers[0].trace
    settings = None if plan is None else plan.in_force
    views: list[_View] = [(answer, None) for answer in answers]
    if spreads:
        views = [
            (answer, outlook(answer, spread, settings, suggest=not is_survey))
            for answer, spread in zip(answers, spreads, strict=True)
        ]
    counts = first.counts or Counts(parameters=0, trainable_parameters=0, buffers=0)
    entries = tuple(
        replace(_timed(_gpu(answer, seen), found), full_state=full_state_of(answer, counted))
        for (answer, seen), found in zip_longest(views, speeds)
    )
    of_states = [] if is_survey else [text for one in entries for text in full_state_warnings(one)]
    return Estimate(
        target=target,
        config=settled(config, counts.weight_dtypes),
        counts=counts,
        gpus=entries,
        versions=versions,
        optimizer=first.optimizer,
        build_on=first.build_on,
        assumptions=(
            *_shared(views, _assumptions),
            *_environment(plan),
            *dict.fromkeys(text for found in speeds for text in found.assumptions),
            *unknown_full_state(counted),
            *((_NOT_RUN,) if is_survey and answers[0].batch is not None else ()),
        ),
        notes=(
            *_shared(views, _notes),
            *dict.fromkeys(text for found in speeds for text in found.notes),
        ),
        warnings=(
            *_shared(views, _warnings),
            *dict.fromkeys((*run_warnings, *of_states)),
        ),
        step=None if counted is None else counted.step,
        is_survey=is_survey,
        values=answers[0].values,
        allocator_setting=None if plan is None or plan.in_force is None else plan.text,
    )


def _timed(entry: DeviceEstimate, found: DeviceTiming | None) -> DeviceEstimate:
    if found is None:
        return entry
    return replace(entry, time=found.time, host=found.host, cost=found.cost)


def _gpu(answer: DeviceMemory, seen: PredictionInterval | None) -> DeviceEstimate:
    budget, trace, batch, sequence = answer.budget, answer.trace, answer.batch, answer.sequence
    samples = answer.batch_capacity
    tokens = None if sequence is None else sequence.limited
    image, frames = _sized(answer, ImageAxis), _sized(answer, FramesAxis)
    return DeviceEstimate(
        requested=budget.requested,
        name=budget.card.name,
        id=budget.spec.id,
        other_names=budget.spec.other_names,
        total_memory_bytes=budget.card.total_memory_bytes,
        usable_memory_bytes=budget.usable_memory_bytes,
        context_overhead_bytes=budget.context_overhead_bytes,
        reserve_bytes=budget.reserve_bytes,
        peak_allocated_bytes=trace.peak_allocated_bytes,
        peak_reserved_bytes=trace.peak_reserved_bytes,
        outside_bytes=budget.outside_bytes,
        outside_spread_bytes=budget.outside_spread_bytes,
        managed_bytes=trace.outside.managed_bytes,
        fits=answer.fits,
        max_batch_size=None if samples is None else samples.largest,
        max_batch_is_bound=samples is not None and samples.is_bound,
        max_batch_confirmed=_confirmed(answer, batch) if samples else None,
        max_batch_method=batch.method.value if batch and samples else None,
        max_sequence_length=None if tokens is None else tokens.largest * SearchAxis.SEQUENCE.unit,
        max_sequence_confirmed=_confirmed(answer, sequence) if tokens else None,
        max_image=None if image is None else image[0].image(image[1].capacity.largest),
        max_image_confirmed=None if image is None else _confirmed(answer, image[1]),
        max_frames=None if frames is None else frames[0].clip(frames[1].capacity.largest),
        max_frames_confirmed=None if frames is None else _confirmed(answer, frames[1]),
        batch_1_missing_bytes=_batch_1_missing(answer),
        attention_backends=trace.attention_backends,
        note=budget.note,
        breakdown=answer.breakdown,
        what_ifs=answer.what_ifs,
        reserved_offset_bytes=budget.reserved_offset_bytes,
        calibration=None if budget.calibration is None else budget.calibration.basis,
        device_total_interval_bytes=None if seen is None else seen.interval_bytes,
        interval_coverage=None if seen is None else seen.coverage,
        interval_basis=None if seen is None else seen.basis,
        suggested_batch_size=None if seen is None else seen.suggested_batch_size,
        suggested_margin_bytes=None if seen is None else seen.suggested_margin_bytes,
        suggested_batch_reason=None if seen is None else seen.suggested_batch_reason,
    )


def _sized(answer: DeviceMemory, kind: type[_SizeT]) -> tuple[_SizeT, LargestValue] | None:
    """Returns an axis of this kind and its largest value; None: not searched, or no limit."""
    for axis, found in answer.sizes:
        if isinstance(axis, kind) and found.limited is not None:
            return axis, found
    return None


def _confirmed(answer: DeviceMemory, found: LargestValue | None) -> bool | None:
    """Returns whether runs confirm it: runs with drawn sizes prove nothing about other runs."""
    return None if found is None else found.is_confirmed and not answer.values.are_decided


def _batch_1_missing(answer: DeviceMemory) -> int | None:
    if answer.batch_1 is None:
        return None
    return max(1, answer.batch_1.peak_reserved_bytes - answer.budget.capacity_bytes)


def _shared(
    views: Sequence[_View],
    texts: Callable[[DeviceMemory, PredictionInterval | None], Sequence[str]],
) -> tuple[str, ...]:
    """Returns the texts of all cards, each once; names the cards where not all have the text."""
    per_card = [(answer.budget.requested, texts(answer, seen)) for answer, seen in views]
    every = dict.fromkeys(text for _, found in per_card for text in found)
    said: list[str] = []
    for text in every:
        holders = [name for name, found in per_card if text in found]
        said.append(text if len(holders) == len(per_card) else f"{_listed(holders)}: {text}")
    return tuple(said)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _assumptions(answer: DeviceMemory, seen: PredictionInterval | None) -> tuple[str, ...]:
    note = answer.budget.note
    return (
        *(() if note is None else (note,)),
        *_calibration(answer.budget.calibration),
        *_interval(seen),
        *answer.trace.assumptions,
        *answer.values.assumptions(),
        *_searches(answer),
    )


def _notes(answer: DeviceMemory, seen: PredictionInterval | None) -> tuple[str, ...]:
    """Returns those of _assumptions that cannot make a figure wrong."""
    return (*_interval(seen), *answer.trace.notes, *_searches(answer))


def _interval(seen: PredictionInterval | None) -> tuple[str, ...]:
    return () if seen is None else seen.said


def _searches(answer: DeviceMemory) -> tuple[str, ...]:
    """Describes how the largest values were searched, where it was not by the usual replay."""
    emptied = (
        f"the model's code empties the allocator's cache ({answer.empties_cache} times); the "
        "largest batch takes it into account",
    )
    return (
        *(emptied if answer.empties_cache else ()),
        *_by_runs(answer.batch, SearchAxis.BATCH),
        *_by_runs(answer.sequence, SearchAxis.SEQUENCE),
        *(text for axis, found in answer.sizes for text in _by_runs(found, axis)),
    )


def _calibration(found: Calibration | None) -> tuple[str, ...]:
    if found is None:
        return ()
    figures = []
    if found.context_overhead_bytes is not None:
        figures.append(f"context overhead {format_bytes(found.context_overhead_bytes)}")
    if found.reserved_offset_bytes:
        sign = "+" if found.reserved_offset_bytes > 0 else ""
        figures.append(f"peak reserved {sign}{format_bytes(found.reserved_offset_bytes)}")
    return (": ".join([found.basis, *([", ".join(figures)] if figures else [])]),)


def _by_runs(found: LargestValue | None, axis: Axis) -> tuple[str, ...]:
    if found is None or found.method is not Method.RUNS:
        return ()
    return (f"the largest {axis.label} was searched by runs: {found.reason}",)


def _warnings(answer: DeviceMemory, _: PredictionInterval | None) -> tuple[str, ...]:
    return (
        *answer.trace.warnings,
        *answer.values.warnings(),
        *_paged(answer),
        *_limits(answer.budget.requested, answer.batch, SearchAxis.BATCH),
        *_limits(answer.budget.requested, answer.sequence, SearchAxis.SEQUENCE),
        *(
            text
            for axis, found in answer.sizes
            for text in _limits(answer.budget.requested, found, axis)
        ),
    )


def _paged(answer: DeviceMemory) -> Iterator[str]:
    """Warns of a step that runs only because the driver moves unified memory to the host."""
    managed_bytes = answer.trace.outside.managed_bytes
    room_bytes = answer.budget.capacity_bytes + managed_bytes
    if managed_bytes and not answer.fits and answer.trace.peak_reserved_bytes <= room_bytes:
        yield (
            f"{answer.budget.requested}: the step does not fit as a whole, but runs: the driver "
            f"moves part of {format_bytes(managed_bytes)} of unified memory to the host, and steps "
            "take longer than predicted"
        )


def _limits(card: str, found: LargestValue | None, axis: Axis) -> Iterator[str]:
    """Names the limit of an axis where it is not memory."""
    if found is None:
        return
    if found.has_no_limit:
        yield f"no memory of the step depends on the {axis.label}: there is no largest one"
    elif found.capacity.is_bound:
        yield (
            f"{card}: the search for the largest {axis.label} stopped at its bound of "
            f"{axis.words(BOUND)}; memory is not what limits it"
        )
    error = found.capacity.error
    if error is not None:
        yield (
            f"{card}: {axis.label} {axis.words(error.value)} fails for another reason than "
            f"memory: {error.detail}"
        )


def _environment(plan: AllocatorPlan | None) -> tuple[str, ...]:
    if plan is None or plan.variable is None:
        return ()
    return (f"{plan.variable}={plan.text} of this environment is in force",)
