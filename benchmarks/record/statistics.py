"""Computes figures of a set of errors.

In: signed relative errors, (predicted - measured) / measured. Out: ErrorStatistics. Convention: all
but `worst` and `bias` are of errors without sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStatistics:
    """Figures of `number` errors, as fractions.

    `worst` is the greatest error and `bias` the median, both with their signs; `under_fraction` is
    the share of errors below 0.
    """

    number: int
    median: float
    p90: float
    p95: float
    worst: float
    bias: float
    under_fraction: float


def error_statistics(errors: Sequence[float]) -> ErrorStatistics | None:
    """Computes the figures; None without any error."""
    if not errors:
        return None
    sizes = [abs(error) for error in errors]
    return ErrorStatistics(
        number=len(errors),
        median=median(sizes),
        p90=quantile(sizes, 0.9),
        p95=quantile(sizes, 0.95),
        worst=max(errors, key=abs),
        bias=median(errors),
        under_fraction=sum(error < 0 for error in errors) / len(errors),
    )


def quantile(values: Iterable[float], share: float) -> float:
    """Returns the smallest of the values that has this share of them below it, or the greatest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
