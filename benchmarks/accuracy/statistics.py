"""Computes figures of a set of errors, and of a set of verdicts.

In: Judged. Out: ErrorStatistics, BracketStatistics. Convention: errors are fractions without sign,
except the worst; a percentile is the smallest value with at least that share at or below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.accuracy.records import Judged, Quantity, Verdict

_WITH_ERROR = (Verdict.WITHIN, Verdict.BEYOND)
_BRACKETED = (Verdict.RIGHT, Verdict.WRONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStatistics:
    """Figures of `number` errors. `worst` has its sign; an under-estimate is an error below 0."""

    number: int
    median: float
    p95: float
    worst: float
    under_fraction: float
    within_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BracketStatistics:
    """How many of the batches that ran, and of those that failed, were predicted correctly."""

    ran: int
    ran_right: int
    failed: int
    failed_right: int

    @property
    def number(self) -> int:
        """Returns the number of all batches."""
        return self.ran + self.failed

    @property
    def right_fraction(self) -> float:
        """Returns the share of correct predictions."""
        return (self.ran_right + self.failed_right) / self.number

    @property
    def under_fraction(self) -> float:
        """Returns the share that was predicted to fit and did not."""
        return (self.failed - self.failed_right) / self.number


def percentile(values: Iterable[float], fraction: float) -> float:
    """Returns the smallest of `values` that at least `fraction` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def error_statistics(judged: Iterable[Judged]) -> ErrorStatistics | None:
    """Computes figures of the cases that are judged by an error; None without any."""
    counted = [one for one in judged if one.verdict in _WITH_ERROR and one.error is not None]
    errors = [one.error for one in counted if one.error is not None]
    if not errors:
        return None
    sizes = [abs(error) for error in errors]
    return ErrorStatistics(
        number=len(errors),
        median=median(sizes),
        p95=percentile(sizes, 0.95),
        worst=max(errors, key=abs),
        under_fraction=sum(error < 0 for error in errors) / len(errors),
        within_fraction=sum(one.verdict is Verdict.WITHIN for one in counted) / len(errors),
    )


def bracket_statistics(judged: Iterable[Judged]) -> BracketStatistics | None:
    """Computes figures of the judged bracketed cases; None without any."""
    counted = [one for one in judged if one.verdict in _BRACKETED]
    if not counted:
        return None
    ran = [one for one in counted if one.result.case.quantity is Quantity.FITS]
    failed = [one for one in counted if one.result.case.quantity is Quantity.OUT_OF_MEMORY]
    return BracketStatistics(
        ran=len(ran),
        ran_right=sum(one.verdict is Verdict.RIGHT for one in ran),
        failed=len(failed),
        failed_right=sum(one.verdict is Verdict.RIGHT for one in failed),
    )


def by(key: Callable[[Judged], str], judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Groups `judged` by key, in order of name."""
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        groups.setdefault(key(one), []).append(one)
    return dict(sorted(groups.items()))
