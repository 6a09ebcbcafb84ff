"""The tries of a search for the largest batch or sequence, and how each of them ended.

In: the outcome of a run in the child. Out: ProbeOutcome, Probe. Convention: this is the one
vocabulary of tries, whether a run or a replay decided, and whether estimate() or verify() asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.wire.trace import RunOutcome


class ProbeOutcome(str, Enum):
    """How a probe ended; in a verification only OOM moves the search."""

    FITS = "fits"
    """The steps ended."""
    OOM = "oom"
    """The allocator reported it: torch.OutOfMemoryError, on the CPU its own error."""
    CUDA_ERROR = "cuda-error"
    """A kernel or a library failed."""
    KILLED = "killed"
    """A signal ended it: from the kernel's OOM killer, a crash, a user."""
    TIME_OUT = "time-out"
    """It did not end within the time allowed."""
    MODEL_ERROR = "model-error"
    """The user's code raised."""


_OF_RUNS = {
    RunOutcome.COMPLETED: ProbeOutcome.FITS,
    RunOutcome.OUT_OF_MEMORY: ProbeOutcome.OOM,
    RunOutcome.CUDA_ERROR: ProbeOutcome.CUDA_ERROR,
    RunOutcome.MODEL_ERROR: ProbeOutcome.MODEL_ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One try. `total_bytes` is the memory that it took, where it fits."""

    value: int
    outcome: ProbeOutcome
    total_bytes: int = 0
    detail: str = ""


def probe_outcome(run: RunOutcome) -> ProbeOutcome:
    """Returns the outcome of a probe whose run ended so, on a device with its own limit."""
    return _OF_RUNS[run]


def is_about_memory(outcome: ProbeOutcome) -> bool:
    """Returns whether the outcome shows that the value fits, or that memory was too small."""
    return outcome in (ProbeOutcome.FITS, ProbeOutcome.OOM)
