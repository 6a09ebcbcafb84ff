"""What parent and child say to each other: one JSON document per line, on pipes of their own.

Parent to child: LoadRequest once, then a JobRequest for each job. Child to parent: Loaded, then a
JobEnded for each job. Plain records; decoded strictly, so that garbage is an error and not a guess.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar, get_args

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from planner.config.target import Target
from planner.errors import ChildError
from planner.wire.jobs import Answer, Job, NeedsValues
from planner.wire.value_reads import ValuesRequest

# What torch reads its allocator's setting from: the first of these that is set, in 2.15; see
# c10/core/AllocatorConfig.cpp. Others look in another order, and 2.6 knows the first alone.
ALLOC_CONF = "PYTORCH_CUDA_ALLOC_CONF"
ALLOC_CONF_VARIABLES = (ALLOC_CONF, "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
# The child's process ends so when the user's code has closed or broken what answers go through.
CLOSED_PIPE_CODE = 122

_NO_VALUES = ValuesRequest()


class Engine(str, Enum):
    """What the steps run on."""

    EMULATED = "emulated"  # the emulated device
    CUDA = "cuda"  # the first physical GPU that the child sees
    CPU = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What to load before the first run.

    `libraries` are the emulated device, in order; `profile` is the card to show while the user's
    code is imported, because a module may ask for it, and `alloc_conf` the allocator's setting
    there, because a module may start the allocator. `values` is for code that uses the card while
    it is imported. Another engine needs none of these.
    """

    target: Target
    libraries: tuple[str, ...] = ()
    driver_folder: str = ""
    profile: str = ""
    alloc_conf: str | None = None
    engine: Engine = Engine.EMULATED
    values: ValuesRequest = _NO_VALUES


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildVersions:
    """Versions that the child runs with."""

    torch: str
    cuda: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFailure:
    """An error of the tree in errors.py, by class name, to be raised again by the parent."""

    error: str
    message: str
    frames: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The user's code is imported. `single_run` says why this child can serve only one run."""

    versions: ChildVersions | None = None
    single_run: str | None = None
    failure: ChildFailure | None = None


def _tagged(record: Any) -> dict[str, Any]:
    """The record with the name of its class, so that a union is read without a guess."""
    kind = type(record)
    return {"kind": kind.__name__, "body": _adapter(kind).dump_python(record, mode="json")}


def _untagged(kinds: Any) -> Callable[[Any], Any]:
    by_name = {kind.__name__: kind for kind in get_args(kinds)}

    def record_of(document: Any) -> Any:
        return _adapter(by_name[document["kind"]]).validate_python(document["body"])

    return record_of


Delivered = Answer | NeedsValues | ChildFailure
_Job = Annotated[Job, PlainSerializer(_tagged), PlainValidator(_untagged(Job))]
_Delivered = Annotated[Delivered, PlainSerializer(_tagged), PlainValidator(_untagged(Delivered))]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job, and the number under which its end is reported."""

    number: int
    job: _Job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The end of a job: what it delivered, if anything, and how its process ended."""

    number: int
    delivered: _Delivered | None = None
    exit_code: int | None = None
    signal: int | None = None


Message = LoadRequest | Loaded | JobRequest | JobEnded | Delivered
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Message)}
_Record = TypeVar("_Record")


_ADAPTERS: dict[str, TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Made at the first use: each costs milliseconds, and no process needs all."""
    if kind.__name__ not in _ADAPTERS:
        _ADAPTERS[kind.__name__] = TypeAdapter(kind)
    return _ADAPTERS[kind.__name__]


def encode(record: Message) -> bytes:
    """One line that `decode` reads back."""
    # Escaped to ASCII: the text of an exception may hold what UTF-8 cannot (half a surrogate pair).
    return json.dumps(_tagged(record)).encode() + b"\n"


def decode(line: bytes, expected: tuple[type[_Record], ...]) -> _Record:
    """The record of one line.

    Raises:
        ChildError: the line is not one of the `expected` records.
    """
    try:
        document = json.loads(line)
        kind = _KINDS[document["kind"]]
        record = _adapter(kind).validate_python(document["body"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ChildError(
            f"the child process sent something unreadable: {line[:200]!r}; the model's code may "
            "have written to a descriptor that it did not open"
        ) from error
    if not isinstance(record, expected):
        raise ChildError(f"the child process sent {document['kind']} out of turn")
    return record
