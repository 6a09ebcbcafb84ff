"""How predicted step times compare with measured ones that the efficiencies were not fitted on.

In: Rows and cases. Out: Judged. Convention: constants are fitted on one half of the networks (of
sources with few rows: of the rows) and judged on the other, and the other way round; cards are
judged with constants from all other cards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.throughput.fitting import WEIGHTS, Parameters, Rows, fit, predicted_s
from benchmarks.throughput.records import Case

LEFT_OUT_CARDS = ("rtx4090-infer", "rtx5090-infer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Errors without sign, as fractions of measured time; `bias` is the median with its sign."""

    cases: int
    median: float
    p90: float
    worst: float
    bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Predicted seconds by case: with constants of the other half, of all other cards, of all."""

    by_halves: tuple[float, ...]
    by_cards: dict[int, float]
    shipped: tuple[float, ...]
    constants: Parameters


def half_of(case: Case) -> int:
    """0 or 1: by the network, so that its sisters in other layouts are in the same half."""
    name = case.name if case.source in WEIGHTS else case.model
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2


def judge(data: Rows, cases: Sequence[Case]) -> Judged:
    """Fits four times: two halves, without one card, without the other; and once on all."""
    halves = _without(data, cases, half_of)
    cards = _without(data, cases, lambda case: case.source, only=LEFT_OUT_CARDS)
    every = fit(data, range(len(cases)))
    return Judged(
        by_halves=tuple(halves[number] for number in range(len(cases))),
        by_cards=cards,
        shipped=tuple(predicted_s(data, every).tolist()),
        constants=every,
    )


def _without(
    data: Rows,
    cases: Sequence[Case],
    group: Callable[[Case], object],
    only: Sequence[object] | None = None,
) -> dict[int, float]:
    """Each case predicted with constants that its group had no part in."""
    found: dict[int, float] = {}
    for held in only or sorted({group(case) for case in cases}, key=str):
        fitted = [number for number, case in enumerate(cases) if group(case) != held]
        seconds = predicted_s(data, fit(data, fitted)).tolist()
        found |= {n: seconds[n] for n, case in enumerate(cases) if group(case) == held}
    return found


def statistics(pairs: Sequence[tuple[float, float]]) -> Statistics:
    """Of pairs of predicted and measured seconds."""
    errors = [predicted / measured - 1 for predicted, measured in pairs]
    sizes = sorted(abs(error) for error in errors)
    return Statistics(
        cases=len(sizes),
        median=median(sizes),
        p90=sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))],
        worst=sizes[-1],
        bias=median(errors),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
