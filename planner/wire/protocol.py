"""The messages between parent and child: one JSON document per line, on separate pipes.

Parent to child: LoadRequest once, then a JobRequest for each job. Child to parent: Loaded, then a
JobEnded for each job. They are plain records, decoded strictly: garbage raises an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, get_args

import msgspec

from planner.config.target import Target
from planner.errors import ChildError
from planner.wire.jobs import Answer, Job, NeedsValues
from planner.wire.own_lever import OwnLever
from planner.wire.reads import Reads
from planner.wire.value_reads import ValuesRequest

# Exit code of the child when the user's code has closed or broken the pipe of the answers.
CLOSED_PIPE_CODE = 122

_NO_VALUES = ValuesRequest()


class Engine(str, Enum):
    """The device that the steps run on."""

    EMULATED = "emulated"  # the emulated device
    CUDA = "cuda"  # the first physical GPU that the child sees
    CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """The target and the libraries to load before the first run.

    `libraries` are the emulated device, in order. While the user's code is imported, `profile` is
    the visible card, because a module may query it, and `alloc_conf` the allocator's setting,
    because a module may start the allocator. `values` is for code that uses the card during its
    import. Other engines need none of these. With `reports_reads`, the child reports what it reads.
    """

    target: Target
    libraries: tuple[str, ...] = ()
    driver_folder: str = ""
    profile: str = ""
    alloc_conf: str | None = None
    engine: Engine = Engine.EMULATED
    values: ValuesRequest = _NO_VALUES
    reports_reads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildVersions:
    """Versions that the child runs with."""

    torch: str
    cuda: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFailure:
    """An error of the tree in errors.py, by class name; the parent raises it again."""

    error: str
    message: str
    frames: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Reports that the user's code is imported, or why not (`failure`).

    `single_run` is the reason why this child can serve only one run, if there is one. `reads` are
    those until now, if they were to be reported. `levers` are those of the model file.
    """

    versions: ChildVersions | None = None
    single_run: str | None = None
    failure: ChildFailure | None = None
    reads: Reads | None = None
    levers: tuple[OwnLever, ...] = ()


Delivered = Answer | NeedsValues | ChildFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job, and the number with which its end is reported."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The end of a job: its result, if there is one, and how its process ended.

    `reads` are those of the job besides those of Loaded, if they were to be reported.
    """

    number: int
    delivered: Delivered | None = None
    exit_code: int | None = None
    signal: int | None = None
    reads: Reads | None = None


Message = LoadRequest | Loaded | JobRequest | JobEnded | Reads | Delivered
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}
_JOBS = {kind.__name__: kind for kind in get_args(Job)}
_DELIVERED = {kind.__name__: kind for kind in get_args(Delivered)}
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tagged:
    """A record with the name of its class, so that a union is decoded without a guess."""

    kind: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobRequest:
    """JobRequest as it is sent."""

    number: int
    job: _Tagged


@dataclass(frozen=True, slots=True, kw_only=True)
class _JobEnded:
    """JobEnded as it is sent."""

    number: int
    delivered: _Tagged | None = None
    exit_code: int | None = None
    signal: int | None = None
    reads: Reads | None = None


def encode(record: Message) -> bytes:
    """Returns the record as one line that `decode` can read."""
    # msgspec's own JSON has no NaN. Escaped to ASCII, because the text of an exception may hold
    # half a surrogate pair, which UTF-8 cannot encode.
    return json.dumps(_plain(record)).encode() + b"\n"


def _plain(record: Message | Job) -> dict[str, Any]:
    body: dict[str, Any]
    if isinstance(record, JobRequest):
        body = {"number": record.number, "job": _plain(record.job)}
    elif isinstance(record, JobEnded):
        delivered = None if record.delivered is None else _plain(record.delivered)
        body = {
            "number": record.number,
            "delivered": delivered,
            "exit_code": record.exit_code,
            "signal": record.signal,
            "reads": msgspec.to_builtins(record.reads),
        }
    else:
        body = msgspec.to_builtins(record, enc_hook=_base)
    return {"kind": type(record).__name__, "body": body}


def _base(value: object) -> object:
    """Returns a value of a subclass, like torch.Size or torch.__version__, as a plain one."""
    kinds: tuple[type[Any], ...] = (str, int, float, tuple, list, dict)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def decode(line: bytes, expected: tuple[type[_Record], ...]) -> _Record:
    """Returns the record of one line.

    Raises:
        ChildError: the line is not one of the `expected` records.
    """
    try:
        document = msgspec.convert(json.loads(line), _Tagged)
        record = _record(document, _KINDS)
    except (ValueError, KeyError, TypeError) as error:  # msgspec's own are ValueErrors
        raise ChildError(
            f"the child process sent something unreadable: {line[:200]!r}; the model's code may "
            "have written to a descriptor that it did not open"
        ) from error
    if not isinstance(record, expected):
        raise ChildError(f"the child process sent {document.kind} out of turn")
    return record


def _record(tagged: _Tagged, kinds: Mapping[str, type[Any]]) -> Any:
    kind = kinds[tagged.kind]
    if kind is JobRequest:
        sent = msgspec.convert(tagged.body, _JobRequest)
        return JobRequest(number=sent.number, job=_record(sent.job, _JOBS))
    if kind is JobEnded:
        ended = msgspec.convert(tagged.body, _JobEnded)
        return JobEnded(
            number=ended.number,
            delivered=None if ended.delivered is None else _record(ended.delivered, _DELIVERED),
            exit_code=ended.exit_code,
            signal=ended.signal,
            reads=ended.reads,
        )
    return msgspec.convert(tagged.body, kind)
