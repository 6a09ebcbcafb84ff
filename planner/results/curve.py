"""The result of `planner curve`: throughput and memory against the batch on one card.

In: points at some batches. Out: Curve, the knee and a recommendation. Sizes in bytes, times in
seconds. The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.errors import UsageError
from planner.results.csv_form import Cell, csv_text, ends
from planner.results.estimate import (
    SCHEMA_VERSION,
    Versions,
    asked_config_dict,
    weight_documents,
)
from planner.results.result import Result
from planner.results.shown import Shown
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.units import format_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planner.results.schema.curve import CurveDocument, PointDocument

# From this share of the best throughput a larger batch gains too little speed. A convention.
KNEE_SHARE = 0.95

_COLUMNS = (
    "batch_size", "step_s", "samples_per_s", "device_total_bytes", "fits", "bound",
    "joule_per_sample_low", "joule_per_sample_high", "cost_per_sample_low",
    "cost_per_sample_high", "currency",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One batch.

    Time and throughput are those of a card with enough memory, also where the batch does not fit.
    """

    batch_size: int
    """Samples of one micro-batch."""
    step_s: float
    """Seconds of one optimizer step."""
    samples_per_s: float
    """Samples of the step over its time."""
    device_total_bytes: int | None
    """Device total; None: it cannot be forecast."""
    fits: bool
    """Whether the step fits on the card at this batch."""
    bound: str
    """Name of the Bound of the step; VRAM capacity where it does not fit."""
    joule_per_sample: tuple[float, float] | None = None
    """Energy, low and high; None: not known."""
    cost_per_sample: tuple[float, float] | None = None
    """Rent in the curve's currency, low and high; None: no price is known."""

    def to_dict(self) -> PointDocument:
        """Returns the entry of the JSON list `points`."""
        return {
            "batch_size": self.batch_size,
            "step_s": self.step_s,
            "samples_per_s": self.samples_per_s,
            "device_total_bytes": self.device_total_bytes,
            "fits": self.fits,
            "bound": self.bound,
            "joule_per_sample": _listed(self.joule_per_sample),
            "cost_per_sample": _listed(self.cost_per_sample),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The batch to take, and why."""

    batch_size: int | None
    """Samples of one micro-batch; None: there is none to take."""
    accumulate: int | None
    """Micro-batches of a step that keep the global batch; None: no global batch was given."""
    sentence: str
    """Why, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Curve(Result, Shown):
    """Points by rising batch, with the knee and a recommendation.

    `config.batch_size` is the requested batch; each point has its own.
    """

    target: str
    """The model in the words of the caller, or the name of the live object."""
    gpu: str
    """The card in the words of the caller."""
    gpu_name: str
    """Full name of the card that was taken for it."""
    points: tuple[CurvePoint, ...]
    """One for each batch, by rising batch."""
    largest_batch_size: int | None
    """Largest batch that fits, which need not be a point; 0: batch 1 does not; None: not
    searched."""
    knee: int | None
    """Smallest batch that fits with 95 % of the best throughput (KNEE_SHARE); None: no point
    fits."""
    recommended_batch_size: int | None
    """The batch to take; None: there is none."""
    accumulate: int | None
    """Micro-batches of a step that keep the global batch; None: no global batch was given, or it
    cannot be kept."""
    global_batch_size: int | None
    """Requested samples of an optimizer step; None: not given."""
    usable_memory_bytes: int
    """Memory that a process can have on the card."""
    currency: str | None
    """Three letters, of `cost_per_sample`; None: no price is known."""
    config: StepConfig
    """How the step was run; its precision is settled."""
    versions: Versions
    """Versions of the software that made the figures."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
    engine: str = "emulated"
    """Device of the step, always "emulated"."""
    largest_batch_is_bound: bool = False
    """The search stopped at its bound with everything fitting: more may fit."""
    values: ValuesResult = NO_VALUES_READ
    """Values that the step reads from the card."""
    weight_dtypes: tuple[WeightDtype, ...] = ()
    """Parameters by dtype, most bytes first."""
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument that the model was built with."""
    gpu_id: str | None = None
    """Id of the card's record."""

    def plot(self) -> Figure:
        """Returns a picture of throughput and device total by batch, as a figure of matplotlib.

        Raises:
            UsageError: the curve has no points.
            UnsupportedPlatformError: matplotlib is not installed.
        """
        from planner.results.plots.of_results import figure_of

        return figure_of(self)

    def to_dict(self) -> CurveDocument:
        """Returns the JSON document, in stable order, with plain types only."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "gpu": self.gpu,
            "gpu_name": self.gpu_name,
            "versions": self.versions.to_dict(),
            "config": asked_config_dict(self.config),
            "weight_dtypes": weight_documents(self.weight_dtypes),
            "usable_memory_bytes": self.usable_memory_bytes,
            "largest_batch_size": self.largest_batch_size,
            "largest_batch_is_bound": self.largest_batch_is_bound,
            "knee": self.knee,
            "recommended_batch_size": self.recommended_batch_size,
            "accumulate": self.accumulate,
            "global_batch_size": self.global_batch_size,
            "recommendation": recommendation(self.points, self.global_batch_size).sentence,
            "currency": self.currency,
            "points": [point.to_dict() for point in self.points],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
            "gpu_id": self.gpu_id,
        }

    def to_csv(self) -> str:
        """Returns a line for each point; an unknown figure is empty."""
        return csv_text(_COLUMNS, [_row(point, self.currency) for point in self.points])


def knee(points: Sequence[CurvePoint]) -> int | None:
    """Returns the smallest batch with KNEE_SHARE of the best throughput, of points that fit."""
    return knee_of({point.batch_size: point.samples_per_s for point in points if point.fits})


def knee_of(samples_per_s: Mapping[int, float]) -> int | None:
    """Returns the knee of throughputs by batch; None where there are none."""
    if not samples_per_s:
        return None
    enough = KNEE_SHARE * max(samples_per_s.values())
    return min(batch for batch, found in samples_per_s.items() if found >= enough)


def recommendation(points: Sequence[CurvePoint], global_batch: int | None) -> Recommendation:
    """Returns the knee; for a global batch its largest divisor from the smallest point to the knee.

    Raises:
        UsageError: the global batch is below 1.
    """
    if global_batch is not None and global_batch < 1:
        raise UsageError(
            f"a global batch of {global_batch} was asked for; give 1 or more, or leave it out"
        )
    best = knee(points)
    if best is None:
        return Recommendation(
            batch_size=None,
            accumulate=None,
            sentence="none of these batches fits on the card, so none is recommended",
        )
    if global_batch is None:
        share = format_percent(KNEE_SHARE, 1)
        return Recommendation(
            batch_size=best,
            accumulate=None,
            sentence=f"batch {best}: the smallest with {share} of the best throughput; more takes "
            "memory for little speed",
        )
    smallest = min(point.batch_size for point in points if point.fits)
    return _keeping(global_batch, smallest, best)


def _keeping(global_batch: int, smallest: int, best: int) -> Recommendation:
    """Returns the micro-batch that keeps `global_batch` exactly, from `smallest` to `best`."""
    divisors = [size for size in range(smallest, best + 1) if global_batch % size == 0]
    near = max(1, round(global_batch / best))
    instead = f"a global batch of {near * best} = {near} x {best} would run at the knee"
    if not divisors:
        return Recommendation(
            batch_size=None,
            accumulate=None,
            sentence=f"a global batch of {global_batch} cannot be kept: no batch from {smallest}, "
            f"the smallest tried, to {best}, the knee, divides it; {instead}",
        )
    batch = divisors[-1]
    times = global_batch // batch
    if times == 1:
        sentence = f"batch {batch} without accumulation: it is the global batch asked for"
    else:
        sentence = (
            f"batch {batch} with {times} accumulated keeps the global batch of {global_batch}; "
            "gradients then stay in memory during forward: check it with planner estimate "
            f"--batch {batch} --accumulate {times}"
        )
        if 2 * batch < best:
            sentence += f"; it is far below the knee, {instead}"
    return Recommendation(batch_size=batch, accumulate=times, sentence=sentence)


def _row(point: CurvePoint, currency: str | None) -> dict[str, Cell]:
    return {
        "batch_size": point.batch_size,
        "step_s": point.step_s,
        "samples_per_s": point.samples_per_s,
        "device_total_bytes": point.device_total_bytes,
        "fits": point.fits,
        "bound": point.bound,
        **ends("joule_per_sample", point.joule_per_sample),
        **ends("cost_per_sample", point.cost_per_sample),
        "currency": currency,
    }


def _listed(ends_found: tuple[float, float] | None) -> list[float] | None:
    return None if ends_found is None else list(ends_found)
