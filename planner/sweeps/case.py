"""A case of a sweep, and the row that answers it.

In: target, card and options in the caller's words. Out: SweepCase, SweepRow. Convention: two cases
that ask the same have the same key, in each process and on each machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from planner.config.step import Precision, StepConfig

_KEY_DIGITS = 16
# They say how long to wait and how to search, and move no figure.
_NOT_IN_THE_KEY = ("timeout_s",)
_LISTS = ("assumptions", "warnings")
_FLAGS = ("max_batch_is_bound", "max_batch_confirmed")  # SQLite has numbers for them
Cell = str | int | float | bool | None


class SweepOutcome(str, Enum):
    """How a case ended."""

    OK = "ok"
    """The step fits on the card."""
    DOES_NOT_FIT = "does-not-fit"
    """The step was run, and does not fit on the card."""
    FAILED = "failed"
    """There is no answer; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCase:
    """One question: a target on a card. `options` are those of estimate(), as JSON."""

    target: str
    gpu: str
    options: str

    @property
    def key(self) -> str:
        """Returns a hash of the question; the spelling of a card's name does not count."""
        asked = {
            name: value
            for name, value in json.loads(self.options).items()
            if name not in _NOT_IN_THE_KEY
        }
        text = canonical([self.target, self.gpu.strip().lower(), asked])
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


def sweep_case(target: str, gpu: str, options: Mapping[str, Any]) -> SweepCase:
    """Returns a case whose options say batch and precision, also where those are the defaults."""
    default = StepConfig()
    words = {"batch_size": default.batch_size, "precision": None, **options}
    if words["precision"] == Precision.AS_BUILT.value:
        words["precision"] = None
    return SweepCase(target=target, gpu=gpu, options=canonical(words))


def canonical(value: Any) -> str:
    """Returns the JSON text of a value that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """A case and its answer. Sizes in bytes, times in seconds; None: not known, or it failed."""

    key: str
    """Hash of what the case asks."""
    target: str
    """The target in the caller's words."""
    gpu: str
    """The card in the caller's words."""
    batch_size: int
    """Samples of a micro-batch."""
    precision: str
    """Precision in the caller's words; "as-built": nothing is cast."""
    options: str
    """All options of the case, as JSON."""
    outcome: SweepOutcome
    """Whether it fits, does not, or failed."""
    reason: str | None = None
    """Why it failed; None: it did not."""
    error: str | None = None
    """Class of the error, as "ModelError"; None: it did not fail."""
    card: str | None = None
    """Full name of the card that was taken."""
    card_id: str | None = None
    """Id of the card's record."""
    usable_memory_bytes: int | None = None
    """Memory that a process can have on the card."""
    peak_allocated_bytes: int | None = None
    """Most bytes in tensors at a time."""
    peak_reserved_bytes: int | None = None
    """Most bytes held by PyTorch's allocator."""
    device_total_bytes: int | None = None
    """Peak reserved, context overhead and memory of libraries."""
    device_total_bytes_low: int | None = None
    """Low end of the interval of `device_total_bytes`."""
    device_total_bytes_high: int | None = None
    """High end of that interval."""
    missing_bytes: int | None = None
    """By how much the step exceeds the card; 0: it fits."""
    verdict: str | None = None
    """"fits", "tight" or "does not fit", as in an estimate."""
    max_batch_size: int | None = None
    """Largest batch that fits, from replays if `max_batch_confirmed` is False, which may be off by
    some per cent; 0: batch 1 does not; None: not searched."""
    max_batch_is_bound: bool | None = None
    """The search stopped at its bound: more may fit."""
    max_batch_confirmed: bool | None = None
    """Runs have confirmed the largest batch."""
    parameters: int | None = None
    """Parameters of the model."""
    optimizer: str | None = None
    """Class of the optimizer."""
    step_s: float | None = None
    """Seconds of one optimizer step."""
    step_s_low: float | None = None
    """Low end of the interval of `step_s`."""
    step_s_high: float | None = None
    """High end of that interval."""
    samples_per_s: float | None = None
    """Samples of a step over its time."""
    bound: str | None = None
    """Resource that bounds the step."""
    cost_per_sample_low: float | None = None
    """Low end of the price of a sample."""
    cost_per_sample_high: float | None = None
    """High end of the price of a sample."""
    currency: str | None = None
    """Currency of the price."""
    joule_per_sample_low: float | None = None
    """Low end of the energy of a sample."""
    joule_per_sample_high: float | None = None
    """High end of the energy of a sample."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, for all cards of the same run."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, for all cards of the same run."""
    run_cases: int | None = None
    """Cases that were answered together, by the same process."""
    run_s: float | None = None
    """Seconds from the start to the end of that process, for all its cases."""
    run_processor_s: float | None = None
    """Processor time of that process and its children."""
    source_sha256: str | None = None
    """Hash of the target's file; None: the target is no file."""
    torch: str | None = None
    """Version of PyTorch."""
    cuda: str | None = None
    """Version of the CUDA that torch was built for."""
    cudnn: str | None = None
    """Version of cuDNN."""
    python: str | None = None
    """Version of the Python that ran the model."""
    planner: str | None = None
    """Version of planner."""
    ended_at: str | None = None
    """When the row was made: UTC, like 2026-11-24T22:30:05Z."""

    def to_record(self) -> dict[str, Cell]:
        """Returns the row with plain values only, a value for each column."""
        cells = {field.name: getattr(self, field.name) for field in fields(self)}
        cells["outcome"] = self.outcome.value
        for name in _LISTS:
            cells[name] = json.dumps(list(cells[name]))
        return cells

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SweepRow:
        """Returns the row of plain values; columns that are not there are None."""
        cells = {name: record[name] for name in COLUMNS if name in record}
        cells["outcome"] = SweepOutcome(cells["outcome"])
        for name in _FLAGS:
            cells[name] = None if cells.get(name) is None else bool(cells[name])
        for name in _LISTS:
            cells[name] = tuple(json.loads(cells.get(name) or "[]"))
        return cls(**cells)


COLUMNS = tuple(field.name for field in fields(SweepRow))


def failed_row(case: SweepCase, reason: str, error: str) -> SweepRow:
    """Returns the row of a case without an answer."""
    return SweepRow(**asked_cells(case), outcome=SweepOutcome.FAILED, reason=reason, error=error)


def asked_cells(case: SweepCase) -> dict[str, Any]:
    """Returns the columns of a row that repeat the case."""
    options = json.loads(case.options)
    return {
        "key": case.key,
        "target": case.target,
        "gpu": case.gpu,
        "batch_size": options["batch_size"],
        "precision": options["precision"] or Precision.AS_BUILT.value,
        "options": case.options,
    }
