"""What parent and child say to each other: one JSON document per line, on pipes of their own.

Parent to child: LoadRequest once, then a RunRequest, an InspectRequest or a DataRequest for each
run. Child to parent: Loaded, then for each run a RunEnded. Plain records; decoded strictly, so that
garbage is an error and not a guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from planner.config.step import StepConfig
from planner.config.target import Target
from planner.errors import ChildError
from planner.wire.data_cost import DataCost
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import AllocationTrace, EventKind, Recording, RequestLog, StepTrace
from planner.wire.value_reads import ReadLog, ValuesRequest

# What torch reads its allocator's setting from: the first of these that is set, in 2.15; see
# c10/core/AllocatorConfig.cpp. Others look in another order, and 2.6 knows the first alone.
ALLOC_CONF = "PYTORCH_CUDA_ALLOC_CONF"
ALLOC_CONF_VARIABLES = (ALLOC_CONF, "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
# The child's process ends so when the user's code has closed or broken what answers go through.
CLOSED_PIPE_CODE = 122

_NO_VALUES = ValuesRequest()
_LETTERS = {
    EventKind.ALLOC: "a",
    EventKind.FREE: "f",
    EventKind.FREE_REQUESTED: "r",
    EventKind.FREE_COMPLETED: "c",
    EventKind.EMPTY_CACHE: "e",
}
_KINDS_BY_LETTER = {letter: kind for kind, letter in _LETTERS.items()}


def _in_short(log: RequestLog) -> dict[str, Any]:
    return {
        "kinds": "".join([_LETTERS[kind] for kind in log.kinds]),
        "blocks": log.blocks,
        "sizes_bytes": log.sizes_bytes,
        "streams": log.streams,
        "workspace_sizes_bytes": log.workspace_sizes_bytes,
    }


def _at_length(short: Any) -> Any:
    kinds = tuple([_KINDS_BY_LETTER[letter] for letter in short["kinds"]])
    return {**short, "kinds": kinds}


# A letter for each kind: thousands of enumeration members would take longer than all the rest.
_ShortLog = Annotated[RequestLog, PlainSerializer(_in_short), BeforeValidator(_at_length)]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run: what it has (`profile`, see emulator/profile.py), a step, and what to record of it.

    `values`: what it does about values on the emulated card.
    """

    number: int
    profile: str
    config: StepConfig
    recording: Recording = Recording.NOTHING
    values: ValuesRequest = _NO_VALUES


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """One run that counts what a step costs, by module down to `depth` (0: the model alone)."""

    number: int
    profile: str
    config: StepConfig
    depth: int
    values: ValuesRequest = _NO_VALUES


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """One run that times items of the user's data set for about `seconds`."""

    number: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """What a recorded run delivers: the recording that was asked for, where it succeeded."""

    trace: StepTrace
    allocations: AllocationTrace | None = None
    requests: _ShortLog | None = None
    log: ReadLog | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsValues:
    """The run ended at a read of a value, which it kept none of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The end of a run: what it delivered, if anything, and how the process ended.

    `log` is of a values pass. `needs_values`: the run has to be made again with values.
    """

    number: int
    trace: StepTrace | None = None
    allocations: AllocationTrace | None = None
    requests: _ShortLog | None = None
    counts: ModelCounts | None = None
    data_cost: DataCost | None = None
    log: ReadLog | None = None
    needs_values: bool = False
    failure: ChildFailure | None = None
    exit_code: int | None = None
    signal: int | None = None


Message = (
    LoadRequest
    | Loaded
    | RunRequest
    | InspectRequest
    | DataRequest
    | RunEnded
    | RecordedRun
    | NeedsValues
    | StepTrace
    | ModelCounts
    | DataCost
    | ChildFailure
)
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
    kind = type(record)
    body = _adapter(kind).dump_python(record, mode="json")
    # Escaped to ASCII: the text of an exception may hold what UTF-8 cannot (half a surrogate pair).
    return json.dumps({"kind": kind.__name__, "body": body}).encode() + b"\n"


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
