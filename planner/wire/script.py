"""What planner and a training script under it say to each other: an order, then a report.

In: nothing. Out: ScriptOrder, sent to the processes of the command as a JSON file; ScriptReport,
written by the process that trains. Convention: the interpreter of the script may not have msgspec,
so both forms here need the standard library alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from planner.config.step import DataDependent, SizeAt
from planner.wire.jobs import RunAnswer
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import Recording
from planner.wire.value_reads import ReadLog, ReadSite, ValuesPass, ValuesRequest

STATE_VARIABLE = "VRAM_PLANNER_RUN"  # names the file of the order
ORDER_FILE = "order.json"
STACK_FILE = "stack"
ENDED_CODE = 77  # of a process that is ended at its last step; never passed on
_FIELDS: dict[type[Any], tuple[str, ...]] = {}  # names by class: a run has tens of thousands
REPORT_PREFIX = "report-"  # followed by the end and the number of the process

_WITH_VALUES = ValuesRequest(kind=ValuesPass.VALUES)


class ScriptEnd(str, Enum):
    """How a process that used the card ended, as it reports it."""

    STEPS_DONE = "steps done"
    """It made the steps and was ended where the next one began its optimizer."""
    ENDED = "ended"
    """It ended by itself."""
    EXCEPTION = "exception"
    """An exception ended it; that the card was full is an outcome of its own (`answer`)."""
    REFUSED = "refused"
    """It does what cannot be measured here; `refusal` says what."""


class StepsDone(BaseException):
    """The steps of a block of code are made, and the next one began.

    No Exception: `except Exception` in the block does not catch it, and each later step raises it
    again.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedRank:
    """The rank that the script plays, of a job on several GPUs.

    `environment` are variables of its launcher, besides those of torchrun.
    """

    gpus: int
    hosts: int
    rank: int = 0
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptOrder:
    """What each Python process of the command shall do.

    `libraries` are the emulated device and `profile` the card. A process that has made `steps`
    optimizer steps reports into `folder` and ends. `batch_size` replaces that of the first
    training DataLoader; None leaves it. `ranks` is the rank to play; None: there is one GPU.
    `infers`: an earlier run has trained nothing, so the whole run is one step of inference.
    """

    libraries: tuple[str, ...]
    driver_folder: str
    profile: str
    folder: str
    steps: int
    recording: Recording = Recording.NOTHING
    values: ValuesRequest = _WITH_VALUES
    batch_size: int | None = None
    ranks: PlayedRank | None = None
    infers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptReport:
    """What a process of the command did.

    `steps` are its optimizer steps that ended, `micro_batches` the backwards of such a step, and
    `batch_size` the samples of a micro-batch as far as seen (None: not seen; `batch_from` says
    where). `loader_batch_size` is that of its first training DataLoader. `autocast` is a dtype, ""
    for none. `counted` is of a values pass. `recovered_out_of_memory`: how often the card was full
    and the script went on.
    `saved` are files that it saved without the bytes of tensors. `strategy` is how its model is
    spread over several GPUs, in the words of --parallel; "": not seen. `called_backward`: since the
    last step. `idle_optimizers` are classes of optimizers that it made, and that made no step.
    """

    end: ScriptEnd
    answer: RunAnswer
    steps: int
    torch: str
    cuda: str
    python: str
    micro_batches: int = 1
    batch_size: int | None = None
    batch_from: str = ""
    loader_batch_size: int | None = None
    autocast: str = ""
    counted: ModelCounts | None = None
    used_card: bool = True
    recovered_out_of_memory: int = 0
    refusal: str = ""
    saved: tuple[str, ...] = ()
    strategy: str = ""
    called_backward: bool = False
    idle_optimizers: tuple[str, ...] = ()


def order_text(order: ScriptOrder) -> str:
    """Returns the order as JSON."""
    return json.dumps(plain(order))


def order_of(text: str) -> ScriptOrder:
    """Returns the order of such a text.

    Raises:
        ValueError: it is none.
    """
    try:
        given: dict[str, Any] = json.loads(text)
        values, ranks = given.pop("values"), given.pop("ranks")
        return ScriptOrder(
            libraries=tuple(given.pop("libraries")),
            recording=Recording(given.pop("recording")),
            values=ValuesRequest(
                kind=ValuesPass(values["kind"]),
                seed=values["seed"],
                data_dependent=DataDependent(values["data_dependent"]),
                size_at=tuple(SizeAt(**one) for one in values["size_at"]),
                log=None if values["log"] is None else _log_of(values["log"]),
            ),
            ranks=None if ranks is None else _ranks_of(ranks),
            **given,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an order of planner run: {error!r}") from error


def _ranks_of(ranks: dict[str, Any]) -> PlayedRank:
    environment = tuple((name, value) for name, value in ranks.pop("environment"))
    return PlayedRank(environment=environment, **ranks)


def _log_of(log: dict[str, Any]) -> ReadLog:
    """Returns the log without `reads`, which answer nothing."""
    return ReadLog(
        sites=tuple(ReadSite(**site) for site in log["sites"]),
        site_of=tuple(log["site_of"]),
        sizes_bytes=tuple(log["sizes_bytes"]),
        contents=tuple(log["contents"]),
        seed=log["seed"],
    )


def plain(value: Any) -> Any:
    """Returns a record as dicts, lists and plain values, as msgspec.to_builtins does."""
    if value is None or type(value) in (int, str, bool, float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _names(type(value))}
    for kind in (str, int, float):  # torch.__version__ is a subclass
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _names(kind: type[Any]) -> tuple[str, ...]:
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return found
