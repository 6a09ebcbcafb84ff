"""The rows of the benchmark, the most useful first, and their commands.

In: models and the card. Out: Rows. Convention: a row is one command; its outcome is a Result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from benchmarks.command import Ended

PRECISIONS = ("fp32", "amp-bf16", "bf16")
PEAK_BATCH = 8
# Enough samples that a step takes longer than its launches, and enough steps for a steady time.
STEP_BATCH, STEP_STEPS = 32, 10
QUANTITIES = (
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "context_overhead_bytes",
    "device_total_bytes",
    "max_batch_size",
    "step_s",
)
_LAST_WORDS = 400  # of an error


class Kind(str, Enum):
    """The purpose of a row. Each verification also reports the context overhead, by NVML."""

    PEAKS = "peaks"  # and the context overhead, at a small batch
    GPU_TESTS = "gpu tests"  # pytest -m gpu
    LARGEST_BATCH = "largest batch"
    STEP_TIME = "step time"


class Status(str, Enum):
    """The progress of a row."""

    DONE = "done"
    FAILED = "failed"
    CUT_OFF = "cut off"  # it was running when the time was over
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One command."""

    kind: Kind
    model: str  # empty for the tests
    precision: str
    module: str
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """Returns the row in words."""
        return " ".join(part for part in (self.kind.value, self.model, self.precision) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a row. `quantities`: predicted, measured and signed relative error of each."""

    status: Status
    exit_code: int | None = None
    seconds: float | None = None
    error: str = ""
    quantities: dict[str, dict[str, float | None]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    document: dict[str, Any] | None = None  # the JSON of planner verify


def rows(models: Sequence[str], emulated: str | None) -> tuple[Row, ...]:
    """Returns all rows: peaks of all models, the tests, largest batches, step times."""
    card = ("--emulated", emulated) if emulated else ("--device", "cuda")
    peaks = ("--batch", str(PEAK_BATCH), "--max-batch", str(PEAK_BATCH))
    steps = ("--batch", str(STEP_BATCH), "--max-batch", str(STEP_BATCH), "--steps", str(STEP_STEPS))
    tests = ("-m", "gpu", "tests/gpu", "-q", "-p", "no:cacheprovider")

    def verifications(kind: Kind, options: tuple[str, ...]) -> list[Row]:
        return [
            Row(
                kind=kind,
                model=model,
                precision=precision,
                module="planner",
                arguments=(
                    "verify",
                    f"models/{model}.py",
                    *card,
                    "--precision",
                    precision,
                    "--json",
                    "--quiet",
                    *options,
                ),
            )
            for precision in PRECISIONS
            for model in models
        ]

    return (
        *verifications(Kind.PEAKS, peaks),
        Row(kind=Kind.GPU_TESTS, model="", precision="", module="pytest", arguments=tests),
        *verifications(Kind.LARGEST_BATCH, ()),
        *verifications(Kind.STEP_TIME, steps),
    )


def result(row: Row, ended: Ended, *, on_a_card: bool) -> Result:
    """Reads the output of a command. On a physical card, skipping all tests is a failure."""
    status, error, document = Status.DONE, "", None
    if ended.timed_out:
        status, error = Status.CUT_OFF, f"ended after {ended.seconds:.0f} s: the time was over"
    elif row.kind is Kind.GPU_TESTS:
        last = (ended.stdout.strip().splitlines() or [""])[-1]
        ran = "passed" in last or (not on_a_card and "skipped" in last)
        if ended.code or not ran:
            status, error = Status.FAILED, (ended.stdout + ended.stderr).strip()[-_LAST_WORDS:]
        document = {"summary": last}
    elif ended.code in (0, 4):
        document = json.loads(ended.stdout)
    else:
        status, error = Status.FAILED, ended.stderr.strip()[-_LAST_WORDS:] or "no message"
    verified = document if document and "predicted" in document else None
    if verified and verified["measured"]["peak_allocated_bytes"] is None:
        status, error = Status.FAILED, verified["stopped"] or "nothing was measured"
    return Result(
        status=status,
        exit_code=None if ended.timed_out else ended.code,
        seconds=round(ended.seconds, 1),
        error=error,
        quantities=_quantities(verified) if verified else {},
        remarks=_remarks(verified) if verified else (),
        document=document,
    )


def _quantities(document: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "predicted": document["predicted"].get(name),
            "measured": document["measured"].get(name),
            "error": document["error"].get(name),
        }
        for name in QUANTITIES
    }


def _remarks(document: dict[str, Any]) -> tuple[str, ...]:
    """Returns why a verification is not a plain yes."""
    said = (*document["complaints"], document["stopped"])
    return tuple(text for text in said if text)
