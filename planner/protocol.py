"""What parent and child say to each other: one JSON document per line, on pipes of their own.

Parent to child: LoadRequest once, then a RunRequest or an InspectRequest for each run. Child to
parent: Loaded, then for each run a RunEnded. Plain records; decoded strictly, so that garbage is an
error and not a guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from planner.errors import ChildError
from planner.module_counts import ModelCounts
from planner.trace import AllocationTrace, StepTrace
from planner.workload import StepConfig, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What to load before the first run.

    `libraries` are the emulated device, in order; `profile` is the card to show while the user's
    code is imported, because a module may ask for it.
    """

    target: Target
    libraries: tuple[str, ...]
    driver_folder: str
    profile: str


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
    """One run: a card (`profile`, see device/profile.py) and a step.

    With `record`, every request to the allocator is reported too; the figures are the same.
    """

    number: int
    profile: str
    config: StepConfig
    record: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """One run that counts what a step costs, by module down to `depth` (0: the model alone)."""

    number: int
    profile: str
    config: StepConfig
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """What a run with `record` delivers."""

    trace: StepTrace
    allocations: AllocationTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The end of a run: what it delivered, if anything, and how the process ended."""

    number: int
    trace: StepTrace | None = None
    allocations: AllocationTrace | None = None
    counts: ModelCounts | None = None
    failure: ChildFailure | None = None
    exit_code: int | None = None
    signal: int | None = None


Message = (
    LoadRequest
    | Loaded
    | RunRequest
    | InspectRequest
    | RunEnded
    | RecordedRun
    | StepTrace
    | ModelCounts
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
        raise ChildError(f"the child process sent something unreadable: {line[:200]!r}") from error
    if not isinstance(record, expected):
        raise ChildError(f"the child process sent {document['kind']} out of turn")
    return record
