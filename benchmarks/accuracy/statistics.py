"""Chooses the errors that count, and computes figures of a set of verdicts.

In: Judged. Out: errors, BracketStatistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.accuracy.records import Judged, Quantity, Verdict

_WITH_ERROR = (Verdict.WITHIN, Verdict.BEYOND)
_BRACKETED = (Verdict.RIGHT, Verdict.WRONG)


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


def errors_of(judged: Iterable[Judged]) -> list[float]:
    """Returns the errors of the cases that are judged by one."""
    counted = [one for one in judged if one.verdict in _WITH_ERROR]
    return [one.error for one in counted if one.error is not None]


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
