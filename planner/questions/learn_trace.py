"""learn_trace(): reads a trace of torch.profiler, and keeps how long its kernels took.

trace, card -> operators with their kernels -> measured and predicted work by kind -> the history
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from planner._version import __version__
from planner.errors import HistoryError, UnknownGpuError, UsageError
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.units import format_bytes
from planner.verification import history
from planner.verification.kept_traces import trace_document
from planner.verification.kernel_factors import (
    Compared,
    MeasuredKernels,
    compared,
    credible_factors,
)
from planner.verification.learned_trace import LearnedTrace
from planner.verification.profiler_trace import ProfilerTrace, profiler_trace
from planner.verification.traced_records import measured_kernels, record_of

_NAMES = 12  # operators that are named among those that are not compared
_MEMORY_SLACK = 0.06  # as in GpuDatabase.find_physical
_UNLINKED = "kernels without an operator"
_UNKNOWN_VERSION = "not known"


def learn_trace(
    path: str | os.PathLike[str], *, gpu: str | None = None, keep: bool = True
) -> LearnedTrace:
    """Reads a trace that torch.profiler exported, with CUDA kernels and record_shapes=True.

    `path` is a chrome trace, .json or .json.gz. `gpu` names the card, where the trace does not.
    With `keep`, measured times of kernels go into the history, where the next estimate for the card
    uses them.

    Raises:
        UsageError: the file cannot be read, is no such trace, or is of another card than `gpu`.
        UnknownGpuError: no such card, or no `gpu` and the database has not the card of the trace.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    trace = profiler_trace(data)
    card, notes = _card(trace, gpu)
    kernels = measured_kernels(trace)
    found = compared(kernels, card)
    kept_as, reason = _kept(trace, kernels, found, card) if keep else (None, "it was not asked for")
    steps = max(1, trace.steps)
    return LearnedTrace(
        card=card.name,
        device=trace.device,
        cuda=trace.cuda,
        steps=trace.steps,
        left_out_steps=trace.left_out_steps,
        step_s=trace.step_s,
        kernels=trace.kernels,
        kernels_s=trace.kernels_s / steps,
        messages_s=trace.messages_s / steps,
        host_copies_s=trace.host_copies_s / steps,
        compared_s=sum(one.measured_s for one in kernels.operators) / steps - found.short_s,
        short_s=found.short_s,
        comparisons=found.kinds,
        not_compared=_not_compared(trace, steps),
        kept_as=kept_as,
        not_kept=reason,
        notes=(*notes, *_notes(trace)),
    )


def _card(trace: ProfilerTrace, gpu: str | None) -> tuple[GpuSpec, tuple[str, ...]]:
    """Returns the card of the trace, and notes on how it was found."""
    database = load_gpus()
    if gpu is None and not trace.device:
        raise UsageError("the trace does not name its card: say it with --gpu")
    try:
        match = database.find_physical(trace.device, trace.device_memory_bytes)
        own = match.spec
    except UnknownGpuError as error:
        if gpu is None:
            raise UnknownGpuError(
                f"the card of the trace: {error}; or say it with --gpu"
            ) from error
        own = None
    if gpu is None:
        assert own is not None
        return own, () if match.note is None else (match.note,)
    asked = database.find(gpu)
    if own is not None and own.id != asked.spec.id:
        raise UsageError(
            f"the trace is of {trace.device} ({own.id}), not of {asked.spec.id}: what its kernels "
            "took says nothing about another card"
        )
    if own is None and not _has(asked.spec, trace.device_memory_bytes):
        raise UsageError(
            f"the trace is of {trace.device} with {format_bytes(trace.device_memory_bytes)}, and "
            f"{asked.spec.id} has {format_bytes(asked.spec.usable_memory_bytes)}"
        )
    notes = [asked.note] if asked.note else []
    if own is None:
        named = trace.device or "no card"
        notes.append(f"the trace names {named}, which has no record: taken for {asked.spec.id}")
    return asked.spec, tuple(notes)


def _has(card: GpuSpec, memory_bytes: int) -> bool:
    """Returns whether the card may have this memory; 0: the trace does not say it."""
    least, most = card.usable_memory_bytes, card.usable_memory_max_bytes
    is_near = least * (1 - _MEMORY_SLACK) <= memory_bytes <= most * (1 + _MEMORY_SLACK)
    return not memory_bytes or is_near


def _kept(
    trace: ProfilerTrace, kernels: MeasuredKernels, found: Compared, card: GpuSpec
) -> tuple[int | None, str | None]:
    """Returns the id in the history, or why nothing is there."""
    if not found.kinds:
        return None, "no kind of kernel takes long enough to be compared"
    if not credible_factors(found.kinds):
        return None, "every kind of kernel is too far from its prediction to be the same kernel"
    digest = hashlib.sha256(repr((card.id, kernels)).encode()).hexdigest()[:8]
    document = trace_document(
        kernels,
        card,
        found.kinds,
        target=f"profiler trace {digest}",
        step_s=trace.step_s,
        device=trace.device,
        cuda=trace.cuda,
        planner=__version__,
    )
    try:
        return history.add_trace(document, torch=_UNKNOWN_VERSION), None
    except HistoryError as error:
        return None, str(error)


def _not_compared(trace: ProfilerTrace, steps: int) -> tuple[tuple[str, float], ...]:
    seconds: dict[str, float] = {}
    for one in trace.operators:
        if record_of(one) is None:
            seconds[one.name] = seconds.get(one.name, 0.0) + one.measured_s / steps
    if trace.unlinked_s:
        seconds[_UNLINKED] = trace.unlinked_s / steps
    return tuple(sorted(seconds.items(), key=lambda one: -one[1])[:_NAMES])


def _notes(trace: ProfilerTrace) -> tuple[str, ...]:
    notes = []
    if not trace.steps:
        notes.append(
            "the trace marks no steps (prof.step() was not called): it counts as one span, and "
            "seconds are of all of it"
        )
    if trace.messages_s:
        notes.append(
            "messages between GPUs ran beside kernels and may have slowed them: a trace of one GPU "
            "alone measures kernels better"
        )
    return tuple(notes)
