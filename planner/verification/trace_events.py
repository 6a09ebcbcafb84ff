"""Decodes the events of a chrome trace that matter for kernels.

In: the bytes of a trace of torch.profiler, JSON or JSON in gzip. Out: TraceEvents. Convention:
microseconds, as in the file. The categories are those of torch since 1.8: "Kernel" became "kernel"
in 1.12. Arguments of an operator are decoded only where it has launched something.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec

from planner.errors import UsageError

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 8 << 30  # of text: beyond it a file is no trace, or no machine could read it
_CHUNK_BYTES = 1 << 24
_KERNELS = ("kernel",)
_COPIES = ("gpu_memcpy", "memcpy")
_SETS = ("gpu_memset", "memset")
_LAUNCHES = ("cuda_runtime", "cuda_driver", "runtime")
_OPERATORS = ("cpu_op", "operator")
_ANNOTATIONS = ("user_annotation",)
_OF_TORCH = frozenset((*_OPERATORS, *_KERNELS, *_LAUNCHES))


class _Event(msgspec.Struct):
    """One event as it is written."""

    ph: Any = None
    cat: Any = None
    name: Any = ""
    ts: Any = 0
    dur: Any = 0
    pid: Any = None
    tid: Any = None
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Document(msgspec.Struct):
    """The file."""

    traceEvents: list[_Event] | None = None  # noqa: N815 # the key of the file
    deviceProperties: Any = None  # noqa: N815 # the key of the file
    cuda_driver_version: Any = None


@dataclass(slots=True, eq=False)
class Span:
    """An operator or an annotation on the CPU. `place` is its number in the file."""

    place: int
    name: str
    thread: str
    start_us: float
    end_us: float
    is_operator: bool
    args: msgspec.Raw
    external: int | None = None

    def arguments(self) -> tuple[Any, tuple[str, ...], Any, tuple[str, ...]]:
        """Returns dims, dtypes, strides and concrete values of the arguments; empty: unknown."""
        found = _decoded(self.args)
        dims = found.get("Input Dims", found.get("Input dims"))
        return (
            _frozen(dims),
            _texts(found.get("Input type")),
            _frozen(found.get("Input Strides")),
            _texts(found.get("Concrete Inputs")),
        )


@dataclass(slots=True, eq=False)
class Launch:
    """A call of the CUDA runtime or driver."""

    thread: str
    start_us: float
    correlation: int


@dataclass(slots=True, eq=False)
class Work:
    """A kernel on the card, or a copy or a fill there (`is_copy`)."""

    name: str
    device: int
    start_us: float
    us: float
    correlation: int | None
    external: int | None
    is_copy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceDevice:
    """A card of the machine, by the name that the driver gives it."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvents:
    """What a trace has of kernels. `cuda` is the newest CUDA version that its driver knows."""

    work: tuple[Work, ...]
    launches: tuple[Launch, ...]
    spans: tuple[Span, ...]
    devices: dict[int, TraceDevice]
    cuda: str | None = None


def trace_events(data: bytes) -> TraceEvents:
    """Decodes the events.

    Raises:
        UsageError: it is no JSON, cut off, or not of torch.profiler.
    """
    document = _document(_unpacked(data))
    if document.traceEvents is None:
        raise _foreign("it has no traceEvents")
    work: list[Work] = []
    launches: list[Launch] = []
    spans: list[Span] = []
    seen = set[str]()
    for place, event in enumerate(document.traceEvents):
        if event.ph != "X" or not isinstance(event.cat, str):
            continue
        kind = event.cat.lower()
        seen.add(kind)
        if kind in _OPERATORS or kind in _ANNOTATIONS:
            spans += _span(event, place, is_operator=kind in _OPERATORS)
        elif kind in _LAUNCHES:
            launches += _launch(event)
        elif kind in _KERNELS or kind in _COPIES or kind in _SETS:
            work += _work(event, is_copy=kind not in _KERNELS)
    if not seen & _OF_TORCH:
        raise _foreign("it has none of the events that torch.profiler writes")
    return TraceEvents(
        work=tuple(work),
        launches=tuple(launches),
        spans=tuple(spans),
        devices=_devices(document.deviceProperties),
        cuda=_cuda(document.cuda_driver_version),
    )


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    text = bytearray()
    try:
        with gzip.open(io.BytesIO(data)) as file:
            while chunk := file.read(_CHUNK_BYTES):
                text += chunk
                if len(text) > _MOST_BYTES:
                    raise UsageError("the trace is larger than 8 GiB; profile fewer steps")
    except EOFError as error:
        raise UsageError(
            "the trace is cut off: its gzip data end too early; copy the file again"
        ) from error
    except (OSError, zlib.error) as error:
        raise UsageError(f"the trace cannot be unpacked: {error}") from error
    return bytes(text)


def _document(text: bytes) -> _Document:
    try:
        return msgspec.json.decode(text, type=_Document)
    except msgspec.ValidationError as error:
        raise _foreign(str(error)) from error
    except RecursionError as error:
        raise _too_deep() from error
    except msgspec.DecodeError as error:
        return _lenient(text, error)


def _lenient(text: bytes, error: Exception) -> _Document:
    """Decodes what older profilers write: NaN, control characters and bytes that are no UTF-8."""
    try:
        found = json.loads(text.decode("utf-8", "replace"), strict=False)
    except RecursionError as deep:
        raise _too_deep() from deep
    except ValueError:
        start = text[:1024].lstrip()
        is_cut = start.startswith(b"{") and not text.rstrip().endswith(b"}")
        said = "is cut off: the JSON ends too early" if is_cut else f"is not JSON: {error}"
        raise UsageError(f"the trace {said}") from error
    if not isinstance(found, dict) or not isinstance(found.get("traceEvents"), list):
        raise _foreign("it has no traceEvents") from error
    return _Document(
        traceEvents=list(_lenient_events(found["traceEvents"])),
        deviceProperties=found.get("deviceProperties"),
        cuda_driver_version=found.get("cuda_driver_version"),
    )


def _lenient_events(events: Iterable[Any]) -> Iterator[_Event]:
    names = ("ph", "cat", "name", "ts", "dur", "pid", "tid")
    for event in events:
        if isinstance(event, dict):
            given = {name: event[name] for name in names if name in event}
            raw = json.dumps(_finite(event.get("args", {}))).encode()
            yield _Event(**given, args=msgspec.Raw(raw))


def _finite(value: Any) -> Any:
    """Returns the arguments with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value


def _too_deep() -> UsageError:
    return UsageError("this is no trace of torch.profiler: it is nested too deep")


def _foreign(why: str) -> UsageError:
    return UsageError(
        f"this is no trace of torch.profiler: {why}; prof.export_chrome_trace() and "
        "torch.profiler.tensorboard_trace_handler() write one"
    )


def _decoded(args: msgspec.Raw) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(args)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) else None


def _span(event: _Event, place: int, *, is_operator: bool) -> Iterator[Span]:
    start, length = _number(event.ts), _number(event.dur)
    if start is None or length is None:
        return
    external = _external(event.args) if is_operator else None
    yield Span(
        place=place,
        name=str(event.name),
        thread=f"{event.pid}/{event.tid}",
        start_us=start,
        end_us=start + max(0.0, length),
        is_operator=is_operator,
        args=event.args,
        external=external,
    )


class _Ids(msgspec.Struct):
    """The numbers among the arguments; old profilers write "external id"."""

    correlation: Any = None
    device: Any = None
    external: Any = msgspec.field(default=None, name="External id")
    external_before: Any = msgspec.field(default=None, name="external id")


def _ids(args: msgspec.Raw) -> _Ids:
    try:
        return msgspec.json.decode(args, type=_Ids)
    except (msgspec.DecodeError, RecursionError):
        return _Ids()


def _external(args: msgspec.Raw) -> int | None:
    found = _ids(args)
    return _whole(found.external) if found.external is not None else _whole(found.external_before)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _launch(event: _Event) -> Iterator[Launch]:
    start, correlation = _number(event.ts), _whole(_ids(event.args).correlation)
    if start is not None and correlation is not None:
        yield Launch(f"{event.pid}/{event.tid}", start, correlation)


def _work(event: _Event, *, is_copy: bool) -> Iterator[Work]:
    start, length = _number(event.ts), _number(event.dur)
    if start is None or length is None or length < 0:
        return
    ids = _ids(event.args)
    yield Work(
        name=str(event.name),
        device=_whole(ids.device) or 0,
        start_us=start,
        us=length,
        correlation=_whole(ids.correlation),
        external=_whole(ids.external if ids.external is not None else ids.external_before),
        is_copy=is_copy,
    )


def _devices(found: Any) -> dict[int, TraceDevice]:
    devices = {}
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            memory = _whole(one.get("totalGlobalMem")) or 0
            devices[_whole(one.get("id")) or 0] = TraceDevice(name=one["name"], memory_bytes=memory)
    return devices


def _cuda(version: Any) -> str | None:
    """Returns 12090 as "12.9"."""
    number = _whole(version)
    return None if not number else f"{number // 1000}.{number % 1000 // 10}"


def _frozen(value: Any) -> Any:
    """Returns nested lists as tuples of whole numbers; () for anything else."""
    if isinstance(value, list):
        return tuple(one if isinstance(one, int) else _frozen(one) for one in value)
    return ()


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
