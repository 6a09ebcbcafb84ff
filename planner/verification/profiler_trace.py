"""Reads a trace that torch.profiler has exported: which operator launched which kernels, how long.

In: the bytes of a chrome trace, JSON or JSON in gzip. Out: ProfilerTrace. Convention: seconds are
of the card and of all calls together. A kernel belongs to the step in which the CPU launched it,
and to the operator that encloses its launch on the same thread.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.errors import UsageError
from planner.memory.interval import median
from planner.verification.trace_events import Span, TraceEvents, Work, trace_events
from planner.wire.trace import Phase

_STEP = re.compile(r"ProfilerStep ?#\d+")
_NEAR = 0.1  # a whole step launches as many kernels as the others, to this share
_HOST_COPIES = ("HtoD", "DtoH", "HtoH")
_TF32 = re.compile(r"tf32|s1688gemm(?!_(?:f16|bf16))", re.IGNORECASE)
# Operators of which several kernels or smaller operators are parts: the CPU calls these as one.
_WHOLE = frozenset(
    f"aten::{name}"
    for name in (
        "convolution", "convolution_backward", "addmm", "mm", "bmm", "baddbmm", "embedding",
        "embedding_dense_backward", "native_layer_norm", "native_layer_norm_backward",
        "native_group_norm", "native_group_norm_backward", "native_batch_norm",
        "native_batch_norm_backward", "cudnn_batch_norm", "cudnn_batch_norm_backward",
        "_batch_norm_with_update", "batch_norm_backward", "_fused_rms_norm",
        "_fused_rms_norm_backward", "_softmax", "_softmax_backward_data", "_log_softmax",
        "_log_softmax_backward_data", "native_dropout", "native_dropout_backward", "sum", "mean",
        "gelu", "gelu_backward", "nll_loss_forward", "nll_loss_backward",
        "max_pool2d_with_indices", "max_pool2d_with_indices_backward", "cat",
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_backward",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_efficient_attention_backward",
        "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_cudnn_attention_backward",
    )
)  # fmt: skip
# The profiler writes no dtype for lists of tensors; kernels that take lists have it in their names,
# those of `cat` sometimes only its bytes.
_LIST_KERNELS = ("multi_tensor_apply", "CatArray")
_ELEMENT = re.compile(
    r"(?:Functor|CatArrayBatchedCopy\w*)<(?:[\w: ()]*::)?"
    r"(float|double|c10::Half|c10::BFloat16|long|int|OpaqueType<[1248])(?:u|\b)"
)
_BY_BYTES = {"1": "signed char", "2": "c10::Half", "4": "float", "8": "double"}
_COPY, _CAST = "aten::copy_", "aten::_to_copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedOperator:
    """Alike calls of an operator that launched kernels.

    `dims`, `dtypes`, `strides` and `concrete` have an item for each argument, as the profiler
    writes them; `dims` is empty where it recorded no shapes. `launches` and `measured_s` are of all
    calls. `is_tf32`: a kernel has the name of a product in TF32. `list_dtype` is that of lists of
    tensors, which kernels have in their names; "" where they have none, or several.
    """

    name: str
    phase: Phase
    dims: tuple[Any, ...]
    dtypes: tuple[str, ...]
    strides: tuple[Any, ...]
    concrete: tuple[str, ...]
    calls: int
    launches: int
    measured_s: float
    is_tf32: bool = False
    list_dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilerTrace:
    """The kernels of the whole steps of a trace, on the card that was busiest.

    `steps` is the number of whole steps, 0 where the trace marks none and counts as one span;
    `left_out_steps` were incomplete or unlike the others. `step_s` is the median of their wall
    times, None without marks. `kernels_s` are all kernels but those of messages to other GPUs
    (`messages_s`) and copies to and from the host (`host_copies_s`). `unlinked_s` of `kernels_s`
    are of kernels without an operator. `shortest_s` is the shortest kernel: its begin and end.
    """

    device: str
    device_memory_bytes: int
    steps: int
    left_out_steps: int
    step_s: float | None
    kernels: int
    kernels_s: float
    messages_s: float
    host_copies_s: float
    unlinked_s: float
    shortest_s: float
    operators: tuple[TracedOperator, ...]
    cuda: str | None = None


def profiler_trace(data: bytes) -> ProfilerTrace:
    """Reads a trace.

    Raises:
        UsageError: it is no JSON, cut off, not of torch.profiler, of the CPU alone, or without
            operators or their shapes.
    """
    events = trace_events(data)
    if not events.work:
        raise UsageError(
            "the trace has no kernels: it is a profile of the CPU alone; record with "
            "activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA] on a machine with a GPU"
        )
    if not any(span.is_operator for span in events.spans):
        raise UsageError(
            "the trace has kernels and no operators that launch them; record with "
            "activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]"
        )
    work = _of_busiest(events.work)
    found = _Launchers(events, {one.correlation for one in work})
    steps = sorted(
        (span.start_us, span.end_us) for span in events.spans if _STEP.fullmatch(span.name)
    )
    chosen, whole = _in_whole_steps(work, found, steps)
    operators = _operators(chosen, found)
    if not any(one.dims for one in operators):
        raise UsageError(
            "the operators of the trace have no shapes; record with "
            "torch.profiler.profile(record_shapes=True)"
        )
    return _trace(events, chosen, found, operators, steps=steps, whole=whole)


def _of_busiest(work: Sequence[Work]) -> list[Work]:
    """Returns the work of the card that was busy for the longest time."""
    busy: dict[int, float] = {}
    for one in work:
        busy[one.device] = busy.get(one.device, 0.0) + one.us
    device = max(busy, key=lambda one: busy[one])
    return [one for one in work if one.device == device]


@dataclass(slots=True)
class _Launcher:
    """Where the CPU launched some work. `name` is that of the operator as planner counts it."""

    start_us: float
    phase: Phase
    span: Span | None = None
    name: str = ""


class _Launchers:
    """Finds who launched a kernel: by its correlation, else by its external id."""

    def __init__(self, events: TraceEvents, correlations: set[int | None]) -> None:
        self._by_correlation: dict[int, _Launcher] = {}
        self._by_external = {
            span.external: span
            for span in events.spans
            if span.is_operator and span.external is not None
        }
        threads: dict[str, list[tuple[float, float, Span | int]]] = {}
        for span in events.spans:
            place = threads.setdefault(span.thread, [])
            place.append((span.start_us, -(span.end_us - span.start_us), span))
        for launch in events.launches:
            if launch.correlation in correlations:
                # after a span that begins at the same time
                item = (launch.start_us, 1.0, launch.correlation)
                threads.setdefault(launch.thread, []).append(item)
        for items in threads.values():
            items.sort(key=lambda item: item[:2])
            self._sweep(items)

    def of(self, work: Work) -> _Launcher | None:
        """Returns the launcher; None where the trace has none, as of kernels of a step before."""
        found = None if work.correlation is None else self._by_correlation.get(work.correlation)
        if found is not None and found.span is not None:
            return found
        span = None if work.external is None else self._by_external.get(work.external)
        if span is None:
            return found
        return _Launcher(span.start_us, _phase([span]), span, span.name)

    def _sweep(self, items: Iterable[tuple[float, float, Span | int]]) -> None:
        """Walks along a thread with the stack of spans that enclose the place."""
        stack: list[Span] = []
        for start_us, _, item in items:
            while stack and stack[-1].end_us < start_us:
                stack.pop()
            if isinstance(item, Span):
                stack.append(item)
                continue
            span, name = _operator_of(stack)
            self._by_correlation[item] = _Launcher(start_us, _phase(stack), span, name)


def _operator_of(stack: Sequence[Span]) -> tuple[Span | None, str]:
    """Returns the operator that planner counts, and its name: the outermost that is one whole."""
    inner = next((span for span in reversed(stack) if span.is_operator), None)
    if inner is None or not inner.name.startswith("aten::"):
        return inner, "" if inner is None else inner.name
    for span in stack:
        if span.name in _WHOLE:
            return span, span.name
    is_cast = inner.name == _COPY and any(span.name == _CAST for span in stack)
    return inner, _CAST if is_cast else inner.name


def _phase(stack: Sequence[Span]) -> Phase:
    names = [span.name for span in stack]
    if any(name.startswith("Optimizer.step") for name in names):
        return Phase.OPTIMIZER_STEP
    if any(name.startswith("autograd::") or "Backward" in name for name in names):
        return Phase.BACKWARD
    is_between = any(name.startswith("Optimizer.zero_grad") for name in names)
    return Phase.BETWEEN_STEPS if is_between else Phase.FORWARD


def _in_whole_steps(
    work: Sequence[Work], found: _Launchers, steps: Sequence[tuple[float, float]]
) -> tuple[list[Work], list[int]]:
    """Returns the work of whole steps, and the places of these steps; all work without marks.

    A step is whole where it launches about as many kernels as the others do in the middle. The
    first does not count for that middle: the profiler may have begun inside of it.
    """
    starts = [start for start, _ in steps]
    by_step: dict[int, list[Work]] = {}
    for one in work:
        launcher = found.of(one)
        if launcher is None:
            continue
        place = bisect_right(starts, launcher.start_us) - 1
        if place >= 0 and launcher.start_us <= steps[place][1]:
            by_step.setdefault(place, []).append(one)
    if not by_step:
        return list(work), []
    places = sorted(by_step)
    usual = median([len(by_step[place]) for place in (places[1:] or places)])
    whole = [place for place in places if abs(len(by_step[place]) - usual) <= _NEAR * usual]
    whole = whole or places
    return [one for place in whole for one in by_step[place]], whole


@dataclass(slots=True)
class _Sum:
    """Calls of an operator with the same arguments."""

    calls: set[int] = field(default_factory=set)  # by the place of the span
    launches: int = 0
    us: float = 0.0
    is_tf32: bool = False
    list_dtypes: set[str] = field(default_factory=set)


def _operators(work: Iterable[Work], found: _Launchers) -> tuple[TracedOperator, ...]:
    """Returns the operators with their kernels, those with the most time first."""
    calls: dict[int, tuple[_Launcher, _Sum]] = {}
    copied: set[int] = set()
    for one in work:
        launcher = found.of(one)
        if launcher is None or launcher.span is None or _is_message(one):
            continue
        if _is_host_copy(one):
            copied.add(launcher.span.place)
            continue
        _, added = calls.setdefault(launcher.span.place, (launcher, _Sum()))
        added.launches += 1
        added.us += one.us
        added.is_tf32 = added.is_tf32 or bool(_TF32.search(one.name))
        added.list_dtypes |= _list_dtypes(one.name)
    sums: dict[tuple[Any, ...], _Sum] = {}
    for place, (launcher, one_call) in calls.items():
        assert launcher.span is not None
        if place in copied:
            continue  # its time is that of the link to the host
        of_lists = one_call.list_dtypes
        list_dtype = next(iter(of_lists)) if len(of_lists) == 1 else ""
        how = (one_call.is_tf32, list_dtype)
        key = (launcher.name, launcher.phase, how, launcher.span.arguments())
        added = sums.setdefault(key, _Sum())
        added.calls.add(place)
        added.launches += one_call.launches
        added.us += one_call.us
    operators = [
        TracedOperator(
            name=name,
            phase=phase,
            dims=dims,
            dtypes=dtypes,
            strides=strides,
            concrete=concrete,
            calls=len(added.calls),
            launches=added.launches,
            measured_s=added.us / 1e6,
            is_tf32=is_tf32,
            list_dtype=list_dtype,
        )
        for (
            (name, phase, (is_tf32, list_dtype), (dims, dtypes, strides, concrete)),
            added,
        ) in sums.items()
    ]
    return tuple(sorted(operators, key=lambda one: -one.measured_s))


def _list_dtypes(kernel: str) -> set[str]:
    """Returns the types of the elements of lists that the name of a kernel has."""
    if not any(word in kernel for word in _LIST_KERNELS):
        return set()
    found = _ELEMENT.search(kernel)
    if found is None:
        return set()
    return {_BY_BYTES.get(found[1][-1], found[1])}


def _is_message(work: Work) -> bool:
    return work.name.lower().startswith("nccl")


def _is_host_copy(work: Work) -> bool:
    return work.is_copy and any(word in work.name for word in _HOST_COPIES)


def _trace(
    events: TraceEvents,
    work: Sequence[Work],
    found: _Launchers,
    operators: tuple[TracedOperator, ...],
    *,
    steps: Sequence[tuple[float, float]],
    whole: Sequence[int],
) -> ProfilerTrace:
    messages_us = sum(one.us for one in work if _is_message(one))
    copies_us = sum(one.us for one in work if _is_host_copy(one))
    own = [one for one in work if not _is_message(one) and not _is_host_copy(one)]
    linked = [launcher is not None and launcher.span is not None for launcher in map(found.of, own)]
    unlinked_us = sum(one.us for one, is_linked in zip(own, linked, strict=True) if not is_linked)
    walls_us = [steps[place][1] - steps[place][0] for place in whole]
    device = events.devices.get(work[0].device)
    return ProfilerTrace(
        device="" if device is None else device.name,
        device_memory_bytes=0 if device is None else device.memory_bytes,
        steps=len(whole),
        left_out_steps=len(steps) - len(whole) if whole else 0,
        step_s=median(walls_us) / 1e6 if walls_us else None,
        kernels=len(own),
        kernels_s=sum(one.us for one in own) / 1e6,
        messages_s=messages_us / 1e6,
        host_copies_s=copies_us / 1e6,
        unlinked_s=unlinked_us / 1e6,
        shortest_s=min((one.us for one in own if not one.is_copy), default=0.0) / 1e6,
        operators=operators,
        cuda=events.cuda,
    )
