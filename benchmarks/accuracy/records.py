"""The records of memory: a source, a published case, its prediction, the judged result.

Convention: bytes; an error is (predicted - measured) / measured; None is "not known".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from benchmarks.record import records as record
from planner.config.target import Scalar

# A failed batch counts as predicted if it does not fit on a card smaller by this fraction: contexts
# and other processes on the card are not known more exactly.
BRACKET_TOLERANCE_FRACTION = 0.03


class Quantity(str, Enum):
    """The measured quantity."""

    PEAK_ALLOCATED = "peak allocated"  # of PyTorch's allocator
    PEAK_ACTIVE = "peak active"  # the same, with freed blocks that a stream still uses
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
    FITTED = "fitted"  # a constant was fitted or a setting chosen on it, hence not judged
    LEFT_OUT = "left out"  # the measurement is no figure of memory; the note says why
    NOT_RUN = "not run"  # the note says why


class Judging(Enum):
    """The way to compare the predictions of a source."""

    ABSOLUTE = "the figure itself"
    OFFSET = "with one constant, fitted on about half of the models and judged on the others"
    BRACKET = "whether a batch fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(record.Case):
    """One published figure.

    `measured_bytes` is None where the figure is that a batch fits, or does not.
    `parameters_millions` is the size of the network as published, rounded to two digits behind the
    point; None where it was not. `chosen_on`: a setting that the source does not state was chosen
    by this figure, which is hence not judged. `launches_behind` is how far the emulated card is
    behind the host; None: as planner has it.
    """

    family: str
    quantity: Quantity
    measured_bytes: int | None = None
    parameters_millions: float | None = None
    chosen_on: bool = False
    launches_behind: int | None = None

    @property
    def run(self) -> str:
        """Returns the name without the quantity, if it ends with it."""
        return self.name.removesuffix(f" {self.quantity.value}")

    @property
    def group(self) -> tuple[object, ...]:
        """Returns the key of the group; one child process predicts all cases of a group."""
        return (self.source, self.step.loaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigures:
    """A card as it was in the measurement; without `context_bytes`, its record has them."""

    usable_bytes: int
    context_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Largest error, without sign, of a row and of the median of all; None: no bound."""

    row: float
    median: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(record.Source[Case]):
    """One published set of figures of memory.

    `model_file`, `options` and `variables` are those of its steps.
    `card_figures` replace figures of the card's record. `must_hold`: the command fails beyond a
    bound. `half_seed` draws the half on which constants are fitted; `constant_is` says in a
    sentence why there is one.
    """

    judging: Judging
    model_file: str = ""
    options: tuple[tuple[str, Scalar], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    bounds: Mapping[Quantity, Bounds] = field(default_factory=dict)
    must_hold: bool = False
    card_figures: CardFigures | None = None
    half_seed: int = 0
    constant_is: str = (
        "The driver's figure holds the CUDA context and the libraries' own memory beside the peak "
        "reserved."
    )


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
    peak_active_bytes: int | None = None
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
