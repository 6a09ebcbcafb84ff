"""Fits how far measured step times are from predicted ones, by the distance from what was measured.

In: predictions, each with its Distance from the steps that its constants were fitted on. Out:
Scales, and the share of rows within intervals that were fitted without their card. Convention: an
error is the logarithm of measured over predicted seconds; its scale is fitted as that of Student's
distribution with four degrees of freedom, since some networks are far away.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.record.statistics import quantile
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.spread import Distance, Measured, Scales, StepPrecision, Unknown, architecture

COVERAGE = 0.8
_PRIOR, _PRIOR_SPREAD, _PRIOR_WEIGHT = 0.08, 1.0, 1.0
_DEGREES = 4.0
_STEPS, _RATE = 300, 0.05
_TERMS: tuple[TimeSource | Unknown, ...] = (*TimeSource, *Unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A prediction of a case with constants that were fitted without it."""

    card: str
    """Id of its card."""
    error: float
    """Logarithm of measured over predicted seconds."""
    distance: Distance
    """From the steps that the constants were fitted on."""
    is_judged: bool = True
    """Whether its card was left out: only such samples are counted for the coverage."""


def measured_of(steps: Iterable[tuple[str, tuple[int, int] | None, StepPrecision]]) -> Measured:
    """Returns what was measured, of the card, the capability and the precision of each step."""
    cards: set[str] = set()
    found: dict[str, set[StepPrecision]] = {}
    for card, capability, precision in steps:
        cards.add(card)
        found.setdefault(architecture(capability), set()).add(precision)
    return Measured(
        cards=frozenset(cards),
        architectures={name: frozenset(precisions) for name, precisions in found.items()},
    )


def scales_of(samples: Sequence[Sample], words: str) -> Scales:
    """Fits the scales of the samples; `words` name them."""
    shares = torch.tensor([_shares(one.distance) for one in samples], dtype=torch.float64)
    errors = torch.tensor([one.error for one in samples], dtype=torch.float64)
    prior = math.log(_PRIOR)
    logs = torch.full((len(_TERMS),), prior, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logs, shift], lr=_RATE)
    for _ in range(_STEPS):
        scale = (shares @ (2 * logs).exp()).sqrt()
        z = (errors - shift) / scale
        loss = (scale.log() + (_DEGREES + 1) / 2 * torch.log1p(z**2 / _DEGREES)).sum()
        loss = loss + _PRIOR_WEIGHT * (((logs - prior) / _PRIOR_SPREAD) ** 2).sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = dict(zip(_TERMS, logs.detach().exp().tolist(), strict=True))
    scales = Scales(
        sources={one: found[one] for one in TimeSource},
        unknown={one: found[one] for one in Unknown},
        reach=0.0,
        coverage=COVERAGE,
        basis=words,
    )
    return _calibrated(scales, samples)


def _calibrated(scales: Scales, samples: Sequence[Sample]) -> Scales:
    """Sets the reach within which the share COVERAGE of the judged errors is."""
    judged = [one for one in samples if one.is_judged] or samples
    over_scale = [abs(one.error) / scales.scale(one.distance) for one in judged]
    return replace(scales, reach=quantile(over_scale, COVERAGE))


def covered_without_their_card(samples: Sequence[Sample]) -> dict[str, list[bool]]:
    """Returns by card whether each judged error is within an interval fitted on other cards."""
    found: dict[str, list[bool]] = {}
    for card in sorted({one.card for one in samples if one.is_judged}):
        others = [one for one in samples if one.card != card]
        if any(one.is_judged for one in others):
            scales = scales_of(others, "")
            of_card = [one for one in samples if one.card == card and one.is_judged]
            found[card] = [_is_within(scales, one) for one in of_card]
    return found


def _is_within(scales: Scales, sample: Sample) -> bool:
    spread = scales.spread(sample.distance)
    return spread.low <= math.exp(sample.error) <= spread.high


def share(covered: Collection[bool]) -> float:
    """Returns the share of what is within its interval."""
    return sum(covered) / len(covered)


def _shares(distance: Distance) -> list[float]:
    of_sources = [distance.sources.get(one, 0.0) for one in TimeSource]
    return [*of_sources, *(distance.unknown.get(one, 0.0) for one in Unknown)]
