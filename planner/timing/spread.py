"""Gives the interval of a step time: it widens with the distance from what was measured.

In: a Distance. Out: TimeSpread. Convention: the logarithm of measured over predicted time has a
scale, the root of a sum of variances, one for each thing that is not known; the ends are the scale
times a quantile of past errors over their scales, the same up and down: the errors of a card lean
to one side, but to which side is not known before a step of it is measured. For the same reason
training and inference have one set of figures. `python -m benchmarks.throughput --fit` finds them,
from steps that were predicted without their card and without their architecture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from math import exp, sqrt
from pathlib import Path as FilePath

from planner.hardware.specs import GpuSpec
from planner.timing.kernel_roofs import kernel_rate
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.rates import Path
from planner.timing.same import kernels_once
from planner.wire.trace import OperatorRecord

FILE = FilePath(__file__).with_name("spread.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpread:
    """Measured over predicted step time is from `low` to `high` in a share `coverage` of cases.

    `basis` says which cases.
    """

    low: float
    high: float
    coverage: float
    basis: str


class StepPrecision(str, Enum):
    """The units that do most of the multiplications of a step."""

    HALF = "half"
    """Tensor cores in half precision or below."""
    TF32 = "tf32"
    """Tensor cores in TF32."""
    SINGLE = "single"
    """CUDA cores, whatever the dtype."""


class Unknown(str, Enum):
    """What widens the interval."""

    CARD = "card"
    """No step was measured on the card."""
    ARCHITECTURE = "architecture"
    """No step was measured on a card of its architecture."""
    PRECISION = "precision"
    """Steps were measured on its architecture, but none in this precision."""
    LAUNCHES = "launches"
    """The share of launches in the time of launches and kernels: they depend on the host."""


def step_precision(
    operators: Iterable[OperatorRecord], card: GpuSpec, *, tf32_matmul: bool = False
) -> StepPrecision:
    """Returns the units that do most of the FLOPs of a step on a card; CUDA cores if none does."""
    flops = dict.fromkeys(StepPrecision, 0)
    for record in operators:
        if not record.flops:
            continue
        for kernel in kernels_once(record):
            path = kernel_rate(kernel, card, tf32_matmul=tf32_matmul).path
            found = _PRECISIONS.get(path, StepPrecision.SINGLE)
            flops[found] += record.calls * kernel.flops
    return max(flops, key=lambda one: (flops[one], one is StepPrecision.SINGLE))


_PRECISIONS = {Path.TENSOR_CORES: StepPrecision.HALF, Path.TF32: StepPrecision.TF32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far a step is from the steps that were measured."""

    unknown: Mapping[Unknown, float]
    """Each thing that is not known, as a share from 0 to 1; 0 where it is left out."""
    sources: Mapping[TimeSource, float] = field(default_factory=lambda: {TimeSource.FIT: 1.0})
    """Shares of the kernels' time by its source; their sum is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """The fitted figures."""

    sources: Mapping[TimeSource, float]
    """Scale of a step whose kernels' times are all from this source."""
    unknown: Mapping[Unknown, float]
    """Scale that each thing adds."""
    reach: float
    """Quantile `coverage` of past errors over their scales, without sign."""
    coverage: float
    """Share of past errors within their scale times `reach`."""
    basis: str
    """The steps that were measured."""

    def scale(self, distance: Distance) -> float:
        """Returns the scale of the logarithm of measured over predicted time."""
        found = sum(share * self.sources[one] ** 2 for one, share in distance.sources.items())
        found += sum(share * self.unknown[one] ** 2 for one, share in distance.unknown.items())
        return sqrt(found)

    def spread(self, distance: Distance) -> TimeSpread:
        """Returns the interval at a distance."""
        ends = self.scale(distance) * self.reach
        return TimeSpread(
            low=exp(-ends),
            high=exp(ends),
            coverage=self.coverage,
            basis=self.basis + _words(distance),
        )


_SENTENCES = {
    Unknown.CARD: "no step of this card was measured",
    Unknown.ARCHITECTURE: "none of its architecture",
    Unknown.PRECISION: "none in this precision on its architecture",
}


def _words(distance: Distance) -> str:
    """Returns the distance in words, after a semicolon; empty where the step is near."""
    said = [words for one, words in _SENTENCES.items() if distance.unknown.get(one)]
    return f"; {', '.join(said)}" if said else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The cards and architectures of published steps, each with the precisions that it ran in."""

    cards: frozenset[str]
    """Ids of cards."""
    architectures: Mapping[str, frozenset[StepPrecision]]
    """Precisions by compute capability, as "8.6"."""

    def unknown(
        self,
        card: str,
        capability: tuple[int, int] | None,
        precision: StepPrecision,
        launches: float,
    ) -> dict[Unknown, float]:
        """Returns what is not known of a step with a share `launches` of launches.

        A card of another maker has no compute capability.
        """
        of_architecture = self.architectures.get(architecture(capability))
        return {
            Unknown.CARD: float(card not in self.cards),
            Unknown.ARCHITECTURE: float(of_architecture is None),
            Unknown.PRECISION: float(
                of_architecture is not None and precision not in of_architecture
            ),
            Unknown.LAUNCHES: launches,
        }


def architecture(capability: tuple[int, int] | None) -> str:
    """Returns a compute capability as text, "8.6"; "none" of a card without one."""
    return "none" if capability is None else f"{capability[0]}.{capability[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreads:
    """All that spread.json holds."""

    measured: Measured
    scales: Scales

    def of(self, distance: Distance) -> TimeSpread:
        """Returns the interval of a step at a distance."""
        return self.scales.spread(distance)


@cache
def spreads() -> Spreads:
    """Reads the figures that come with planner."""
    return spreads_of(FILE.read_text(encoding="utf-8"))


def spreads_of(text: str) -> Spreads:
    """Reads the text of spread.json."""
    found = json.loads(text)
    measured = found["measured"]
    return Spreads(
        measured=Measured(
            cards=frozenset(measured["cards"]),
            architectures={
                name: frozenset(map(StepPrecision, precisions))
                for name, precisions in measured["architectures"].items()
            },
        ),
        scales=_scales(found["scales"]),
    )


def _scales(found: dict[str, object]) -> Scales:
    parts: dict[str, object] = {
        **found,
        "sources": _by(TimeSource, found["sources"]),
        "unknown": _by(Unknown, found["unknown"]),
    }
    return Scales(**parts)  # type: ignore[arg-type] # the file was written from these fields


def _by(kind: type[Enum], found: object) -> dict[object, float]:
    assert isinstance(found, dict)
    return {kind(name): value for name, value in found.items()}


def text_of(found: Spreads) -> str:
    """Returns the text of spread.json."""
    scales = found.scales
    document = {
        "measured": {
            "cards": sorted(found.measured.cards),
            "architectures": {
                name: sorted(one.value for one in precisions)
                for name, precisions in sorted(found.measured.architectures.items())
            },
        },
        "scales": {
            "sources": {one.value: round(value, 4) for one, value in scales.sources.items()},
            "unknown": {one.value: round(value, 4) for one, value in scales.unknown.items()},
            "reach": round(scales.reach, 4),
            "coverage": scales.coverage,
            "basis": scales.basis,
        },
    }
    return json.dumps(document, indent=1) + "\n"
