"""The memory and the operators of a step as a trace for Perfetto and chrome://tracing.

In: BatchFigures, and the times of the step where they are known. Out: a document in the Trace Event
Format. Convention: the order of requests and the time of each phase are known, the time of a
request is not: the requests of a phase share its seconds equally. Where those are not known
either, each request takes 1 microsecond, and the axis is the order alone. The trace says which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from planner._version import __version__
from planner.memory.timeline import PhaseSpan, Timeline
from planner.render.exports.stacks import OUTSIDE
from planner.results.step_time import StepTime
from planner.results.timelines import BatchFigures
from planner.timing.timed_operators import TimedMessage, TimedOperator, TimedOperators
from planner.wire.trace import EventKind, Phase

_MEMORY, _OPERATORS = 1, 2  # pids
_PHASES, _REQUESTS = 1, 2  # tids of the first
_KERNELS, _MESSAGES = 1, 2  # tids of the second
_US_PER_S = 1e6
_ORDER = (
    Phase.BETWEEN_STEPS,
    Phase.FORWARD,
    Phase.LOSS,
    Phase.BACKWARD,
    Phase.OPTIMIZER_STEP,
)
_ORDER_ALONE = (
    "the axis is the order of requests for memory, 1 us for each: no times are known of this step"
)
_SHARED_TIME = (
    "the axis is seconds that the card is busy, as predicted for each phase of a step, the same in "
    "every step, without waits; within a phase the requests for memory share its time equally, "
    "because the time of a request is not known; where a phase has no time (the build, between "
    "steps) its requests take 1 us each"
)
_OPERATOR_ORDER = (
    "alike calls of an operator in a phase are one slice with the time of all of them, in the "
    "order of the first call of each: the order of the calls is not known"
)
_MESSAGE_ORDER = (
    "messages to other GPUs have their own time, one after another from the begin of their phase: "
    "what of it runs beside kernels is not in the trace"
)

_Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """What is known of the time of a step."""

    time: StepTime | None = None
    """Its phases; None: not known."""
    operators: TimedOperators | None = None
    """Its operators; None: not known."""


def chrome_trace(
    figures: BatchFigures, times: StepTimes, about: Mapping[str, object]
) -> dict[str, Any]:
    """Returns the document; `about` goes into its metadata."""
    timeline = figures.timeline
    parts = _parts(timeline.phases(), {} if times.time is None else dict(times.time.phases_s))
    starts_us = _starts_us(parts)
    operators = times.operators if times.time is not None else None
    notes = [_ORDER_ALONE if times.time is None else _SHARED_TIME]
    events = [
        *_names(_MEMORY, "memory of the card", {_PHASES: "phases", _REQUESTS: "allocations"}),
        *_phase_slices(parts),
        *_allocation_slices(timeline, starts_us),
        *_counters(timeline, starts_us),
    ]
    if operators is not None:
        notes.append(_OPERATOR_ORDER)
        threads = {_KERNELS: "operators"}
        if operators.messages:
            notes.append(_MESSAGE_ORDER)
            threads[_MESSAGES] = "messages to other GPUs"
        events += _names(_OPERATORS, "time of the step", threads)
        events += _operator_slices(parts, operators)
    if not timeline.reserved_bytes:
        notes.append("reserved memory is not known: the run cannot be replayed")
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "exporter": f"vram-planner {__version__}",
            **about,
            "peak_allocated_bytes": figures.peak_allocated_bytes,
            "peak_reserved_bytes": figures.peak_reserved_bytes,
            "notes": notes,
        },
        "traceEvents": events,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A phase of a step on the axis, with its requests; there may be none."""

    span: PhaseSpan
    share: float
    begin_us: float
    end_us: float


def _parts(spans: tuple[PhaseSpan, ...], phases_s: Mapping[Phase, float]) -> list[_Part]:
    """Lays the phases out; `share` is that of all requests of the phase in the step."""
    found: list[_Part] = []
    at_us = 0.0
    for step, of_step in groupby(spans, key=lambda span: span.step):
        known_s = {phase: s for phase, s in phases_s.items() if s > 0} if step else {}
        filled = _with_phases_without_requests(list(of_step), known_s)
        counts = Counter[Phase]()
        for span in filled:
            counts[span.phase] += span.end - span.begin
        for span in filled:
            number = span.end - span.begin
            share = number / counts[span.phase] if number else 1.0
            seconds = known_s.get(span.phase)
            last_us = float(number) if seconds is None else share * seconds * _US_PER_S
            found.append(_Part(span=span, share=share, begin_us=at_us, end_us=at_us + last_us))
            at_us += last_us
    return found


def _with_phases_without_requests(
    spans: list[PhaseSpan], phases_s: Mapping[Phase, float]
) -> list[PhaseSpan]:
    """Adds the phases of a step that take time and request nothing, where they belong."""
    step, end = spans[0].step, spans[-1].end
    for phase in _ORDER:
        if phase not in phases_s or any(one.phase is phase for one in spans):
            continue
        later = _ORDER[_ORDER.index(phase) + 1 :]
        at = next((at for at, one in enumerate(spans) if one.phase in later), len(spans))
        begin = spans[at].begin if at < len(spans) else end
        spans.insert(at, PhaseSpan(step=step, phase=phase, begin=begin, end=begin))
    return spans


def _starts_us(parts: list[_Part]) -> tuple[float, ...]:
    """Returns the begin of each request, and after them the end of the last part."""
    found: list[float] = []
    for part in parts:
        number = part.span.end - part.span.begin
        length_us = part.end_us - part.begin_us
        found += [part.begin_us + length_us * place / number for place in range(number)]
    return (*found, parts[-1].end_us if parts else 0.0)


def _names(pid: int, process: str, threads: Mapping[int, str]) -> Iterator[_Event]:
    yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": process}}
    yield {"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}
    for tid, name in threads.items():
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}


def _slice(
    pid: int, tid: int, name: str, begin_us: float, end_us: float, args: Mapping[str, object]
) -> _Event:
    place = {"pid": pid, "tid": tid, "ts": begin_us, "dur": end_us - begin_us}
    return {"ph": "X", "name": name, **place, "args": dict(args)}


def _phase_slices(parts: list[_Part]) -> Iterator[_Event]:
    for part in parts:
        span = part.span
        args = {"step": span.step, "requests": span.end - span.begin}
        yield _slice(_MEMORY, _PHASES, span.phase.value, part.begin_us, part.end_us, args)


def _allocation_slices(timeline: Timeline, starts_us: tuple[float, ...]) -> Iterator[_Event]:
    for index, event in enumerate(timeline.events):
        if event.kind is not EventKind.ALLOC:
            continue
        origin = timeline.origins[event.origin]
        args = {
            "request": index,
            "block_bytes": timeline.changes_bytes[index],
            "size_bytes": event.size_bytes,
            "category": event.category.value,
            "module": origin.module or OUTSIDE,
            **{name: text for name in ("tensor", "source") if (text := getattr(origin, name))},
        }
        name = origin.operator or origin.tensor or event.category.value
        yield _slice(_MEMORY, _REQUESTS, name, starts_us[index], starts_us[index + 1], args)


def _counters(timeline: Timeline, starts_us: tuple[float, ...]) -> Iterator[_Event]:
    """Yields memory after each request that changes it, at the begin of the request."""
    allocated, reserved = timeline.allocated_bytes, timeline.reserved_bytes
    categories = timeline.by_category()

    def counter(name: str, index: int, args: Mapping[str, int]) -> _Event:
        return {"ph": "C", "pid": _MEMORY, "name": name, "ts": starts_us[index], "args": args}

    held = -1
    for index, change in enumerate(timeline.changes_bytes):
        if change:
            levels = {one.value: level[index] for one, level in categories.items()}
            yield counter("allocated by category, bytes", index, levels)
            yield counter("allocated, bytes", index, {"allocated": allocated[index]})
        if reserved and reserved[index] != held:
            held = reserved[index]
            yield counter("reserved, bytes", index, {"reserved": held})


def _operator_slices(parts: list[_Part], times: TimedOperators) -> Iterator[_Event]:
    """Fills each phase of each step with its operators, and puts its messages beside them.

    A phase that comes several times in a step, once for each micro-batch, has a part of each
    operator's time every time, by its share of the phase's requests.
    """
    for part in parts:
        phase = part.span.phase
        if not part.span.step:
            continue
        rounds = 1 if phase is Phase.OPTIMIZER_STEP else times.micro_batches
        scale = part.share * rounds * _US_PER_S
        at_us = part.begin_us
        for one in times.operators:
            if one.operator.phase is phase:
                end_us = at_us + scale * one.total_s
                name = one.operator.name
                yield _slice(_OPERATORS, _KERNELS, name, at_us, end_us, _of_operator(one))
                at_us = end_us
        at_us = part.begin_us
        for sent in times.messages:
            if sent.message.phase is phase and sent.message_s > 0:
                end_us = at_us + scale * sent.total_s
                name = sent.message.collective.value
                yield _slice(_OPERATORS, _MESSAGES, name, at_us, end_us, _of_message(sent))
                at_us = end_us


def _of_operator(found: TimedOperator) -> dict[str, object]:
    record = found.operator
    return {
        "calls": record.calls,
        "kernels": found.kernels,
        "flops_of_a_call": record.flops,
        "read_bytes_of_a_call": record.read_bytes,
        "written_bytes_of_a_call": record.written_bytes,
        "input_shapes": [f"{one.dtype}{list(one.shape)}" for one in record.inputs],
        "compute_s": found.compute_s,
        "bandwidth_s": found.bandwidth_s,
        "fixed_s": found.fixed_s,
        "time_source": found.source.value,
    }


def _of_message(found: TimedMessage) -> dict[str, object]:
    record = found.message
    return {
        "calls": record.calls,
        "group": record.group or "all ranks",
        "ranks": record.ranks,
        "hosts": record.hosts,
        "size_bytes_of_a_message": record.size_bytes,
        "message_s": found.message_s,
    }
