"""Orders what may be the plan for each goal; the first that a run on the card confirms is taken.

In: the attempts with single levers, and functions that make more. Out: attempts, the best first,
made one after the other, because each may take a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planner.estimation.advice.combine import (
    Attempt,
    AttemptFn,
    by_size_of_change,
    combination,
    fitting,
    improved,
    is_quick,
    minimal,
)
from planner.estimation.advice.lever_row import LeverRow
from planner.results.advice import Goal

_WORTH_FACTOR = 0.98  # a gain in time below this is within the error of the model
_SMALL = 1  # rank of the largest effect on training that a goal beyond fitting may have
_OF_SIZE = ("batch", "input")  # families that the largest batch or sequence does not ask about


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What was tried, and how to try more.

    `rows` are all levers that can apply. `missing_bytes` are those by which the step as requested
    does not fit. `large` tries the levers of large effect, or of the host, that are tried only
    where smaller ones do not fit together, `last` those that are tried only where nothing else
    fits. `sized` gives an attempt its largest batch or sequence.
    """

    base: Attempt
    singles: tuple[Attempt, ...]
    rows: tuple[LeverRow, ...]
    missing_bytes: int
    attempt: AttemptFn
    large: Callable[[], Sequence[Attempt]]
    last: Callable[[], Sequence[Attempt]]
    sized: Callable[[Attempt], Attempt]


def candidates(goal: Goal, field: Field) -> Iterator[Attempt]:
    """Yields attempts that may be the plan, the best first."""
    if goal is Goal.FASTEST:
        yield from _fastest(field)
    if goal in (Goal.LARGEST_BATCH, Goal.LONGEST_SEQUENCE):
        yield from _largest(field)
    else:
        yield from _smallest_change(field)


def _smallest_change(field: Field) -> Iterator[Attempt]:
    if field.base.fits:
        yield field.base
    keeping = [one for one in field.singles if not one.changes_job]
    yield from filter(is_quick, fitting(keeping))
    yield from _combined(field, keeping)
    later: list[Attempt] = []
    for more in (field.large, field.last):
        found = more()
        later += found
        yield from filter(is_quick, fitting(one for one in found if not one.changes_job))
        if found:
            yield from _combined(field, [*keeping, *later])
    yield from fitting((*field.singles, *later))


def _combined(field: Field, singles: Sequence[Attempt]) -> Iterator[Attempt]:
    found = combination(
        singles, field.attempt, missing_bytes=field.missing_bytes, family=field.rows
    )
    if found is not None:
        yield found


def _fastest(field: Field) -> Iterator[Attempt]:
    """Yields the fastest of what fits, then the fastest single one."""
    allowed = [one for one in field.singles if one.effect <= _SMALL and not one.changes_job]
    fit = [one for one in (field.base, *allowed) if one.fits and one.tried.sample_s is not None]
    if not fit:
        return
    best = min(fit, key=lambda one: one.time)
    faster = sorted(
        (one for one in allowed if one.has_figures and one.time < _WORTH_FACTOR),
        key=lambda one: one.time,
    )
    found = improved(
        faster,
        field.attempt,
        best,
        lambda more, less: more.fits and more.time < _WORTH_FACTOR * less.time,
    )
    yield found
    if found is not best:
        yield best


def _largest(field: Field) -> Iterator[Attempt]:
    """Yields the combination with the largest value, then single ones, then no lever."""
    base = field.sized(field.base)
    allowed = [
        one
        for one in field.singles
        if one.has_figures and one.effect <= _SMALL and one.rows[0].family not in _OF_SIZE
    ]
    sized = sorted(map(field.sized, allowed), key=lambda one: -(one.largest or 0))

    def attempt(rows: Sequence[LeverRow]) -> Attempt:
        return field.sized(field.attempt(rows))

    found = improved(
        sized, attempt, base, lambda more, less: (more.largest or 0) > (less.largest or 0)
    )
    if len(found.rows) > 1:
        least = found.largest or 0
        found = minimal(found, attempt, lambda one: (one.largest or 0) >= least)
    others = [one for one in (*sized, base) if one is not found]
    yield found
    yield from sorted(others, key=lambda one: -(one.largest or 0))


def ranked(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Returns attempts for a table: those that fit, the others by bytes saved, those without."""
    fit = fitting(attempts)
    others = [one for one in attempts if not one.fits]
    tried = [one for one in others if one.has_figures]
    untried = [one for one in others if not one.has_figures]
    return [
        *fit,
        *sorted(tried, key=lambda one: -(one.saved_bytes or 0)),
        *by_size_of_change(untried),
    ]
