"""Records that pass between the stages: a published case, its prediction, the judged result.

Convention: bytes; an error is (predicted - measured) / measured; None is "not known".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.config.target import Scalar


class Quantity(str, Enum):
    """The measured quantity."""

    PEAK_ALLOCATED = "peak allocated"  # of PyTorch's allocator
    PEAK_RESERVED = "peak reserved"  # of PyTorch's allocator
    DEVICE_TOTAL = "device total"  # as the driver reports it, with the CUDA context
    FITS = "fits"  # this batch ran
    OUT_OF_MEMORY = "out of memory"  # this batch did not


class Verdict(str, Enum):
    """The verdict on a prediction. Bracketed cases are right or wrong, the others have an error."""

    RIGHT = "right"
    WRONG = "wrong"
    WITHIN = "within"  # the bound of the source
    BEYOND = "beyond"  # that bound
    FITTED = "fitted"  # in the half that a constant was fitted on, hence not judged
    LEFT_OUT = "left out"  # the measurement is no figure of memory; the note says why
    NOT_RUN = "not run"  # the note says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published figure. `settings` are those of its source, by name.

    `measured_bytes` is None where the figure is that a batch fits, or does not.
    `parameters_millions` is the size of the network as published, rounded to two digits behind the
    point; None where it was not.
    """

    source: str
    name: str
    family: str
    model: str
    batch_size: int
    card: str
    quantity: Quantity
    measured_bytes: int | None = None
    settings: tuple[tuple[str, Scalar], ...] = ()
    parameters_millions: float | None = None

    @property
    def group(self) -> tuple[object, ...]:
        """Returns the key of the group; one child process predicts all cases of a group."""
        return (self.source, self.model, self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction of the emulated card for a case.

    `peak_*_bytes` are of the run that completed, else of one without a limit. `fits` is for the
    card as it is, None if not needed; `fits_smaller` for a card smaller by the tolerance.
    `without_workspaces_bytes` is the peak reserved without the workspaces of cuDNN's plans.
    `trouble` says why nothing was predicted.
    """

    case: str
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    fits: bool | None = None
    fits_smaller: bool | None = None
    without_workspaces_bytes: int | None = None
    parameters: int | None = None
    largest_elements: int | None = None  # of one tensor; None: not needed or not known
    seconds: float = 0.0
    trouble: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A case with its prediction, and the `versions` of the packages of its run."""

    case: Case
    prediction: Prediction
    versions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A result with its verdict. `predicted_bytes` includes the constant of its source."""

    result: Result
    verdict: Verdict
    predicted_bytes: int | None = None
    error: float | None = None
    note: str = ""
