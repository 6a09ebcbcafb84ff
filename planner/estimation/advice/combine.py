"""Chooses among attempts: the smallest change that reaches a goal, or a minimal combination.

In: attempts with single levers, a function that makes one with several. Out: attempts.
Convention: a smaller change is one with less effect on training, then with less time; a combination
is made only of levers that help alone, and has none that it can do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Tried
from planner.results.advice import Effect, TrialState

_RANK = {Effect.NONE: 0, Effect.SMALL: 1, Effect.LARGE: 2}
_UNKNOWN_TIME = 1.0
_ADDED_UP = ("offload",)  # an option of several values, which levers may each give
_SLOW_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Levers, and the step with them. `saved_bytes` and `time_factor` are against no lever."""

    rows: tuple[LeverRow, ...]
    tried: Tried
    saved_bytes: int | None = None
    time_factor: float | None = None
    largest: int | None = None

    @property
    def has_figures(self) -> bool:
        """Returns whether it was tried to the end."""
        return self.tried.state is TrialState.TRIED

    @property
    def fits(self) -> bool:
        """Returns whether the step fits with these levers."""
        return self.tried.fits is True

    @property
    def effect(self) -> int:
        """Returns the rank of the lever with the most effect; 0: no effect on training."""
        return max((_RANK[row.effect] for row in self.rows), default=0)

    @property
    def time(self) -> float:
        """Returns the time factor, or 1 where it is not known."""
        return _UNKNOWN_TIME if self.time_factor is None else self.time_factor

    @property
    def changes_job(self) -> bool:
        """Returns whether it gives up something that was requested, like the batch."""
        return any(row.changes_job for row in self.rows)


AttemptFn = Callable[[Sequence[LeverRow]], Attempt]
Good = Callable[[Attempt], bool]


def merged(rows: Iterable[LeverRow]) -> dict[str, Any]:
    """Returns the changes of several levers together; parts to offload are added up."""
    found: dict[str, Any] = {}
    for row in rows:
        for name, value in row.options.items():
            parts = found.get(name, ()) if name in _ADDED_UP else ()
            found[name] = tuple(dict.fromkeys((*parts, *value))) if parts else value
    return found


def go_together(rows: Sequence[LeverRow], other: LeverRow) -> bool:
    """Returns whether a lever can be added to others: another family, other options."""
    taken = {name for row in rows for name in row.options} - {*_ADDED_UP}
    return not taken & {*other.options} and not any(
        row.family in (other.family, *other.excludes) or other.family in row.excludes
        for row in rows
    )


def is_quick(one: Attempt) -> bool:
    """Returns whether a sample takes less than twice its time; slower is no small change."""
    return one.time <= _SLOW_FACTOR


def by_size_of_change(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Returns attempts, the smallest change first."""
    return sorted(
        attempts,
        key=lambda one: (
            one.changes_job, one.effect, len(one.rows), one.time, -(one.saved_bytes or 0),
        ),
    )  # fmt: skip


def fitting(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Returns those that fit, the smallest change first."""
    return by_size_of_change(one for one in attempts if one.fits)


def useful(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Returns levers that save memory: least effect first, then most bytes for their time.

    Those that use the host come after others of the same effect.
    """
    saving = [one for one in attempts if one.has_figures and (one.saved_bytes or 0) > 0]
    return sorted(
        saving,
        key=lambda one: (
            one.effect, one.rows[0].uses_host, -(one.saved_bytes or 0) / one.time,
        ),
    )  # fmt: skip


def combination(
    attempts: Sequence[Attempt],
    attempt: AttemptFn,
    *,
    missing_bytes: int,
    family: Sequence[LeverRow] = (),
) -> Attempt | None:
    """Returns a minimal combination that fits; None: all useful levers together do not.

    Levers are added in the order of `useful`. They are run together when the sum of their savings
    is at least `missing_bytes`, and before the first of a larger effect is added; there the levers
    of each family that save most are tried too, then stronger ones of `family`.
    """
    chosen: list[LeverRow] = []
    saved, found = 0, None
    candidates = [one for one in useful(attempts) if not one.changes_job]
    for position, one in enumerate(candidates):
        (row,) = one.rows
        is_new = go_together(chosen, row)
        if is_new:
            chosen.append(row)
            saved += one.saved_bytes or 0
        following = candidates[position + 1 : position + 2]
        is_end = not following or following[0].effect > one.effect
        if len(chosen) > 1 and (is_end or (is_new and saved >= missing_bytes)):
            found = attempt(chosen)
        if is_end and (found is None or not found.fits):
            allowed = [other for other in attempts if other.effect <= one.effect]
            found = _most_saving(allowed, chosen, attempt) or found
            if found is not None and not found.fits:
                found = _strengthened(found, family, attempt)
        if found is not None and found.fits:
            break
    if found is None or not found.fits:
        return None
    found = _milder(minimal(found, attempt, _fits), attempts, family, attempt)
    return _weakened(found, family, attempt)


def _most_saving(
    attempts: Sequence[Attempt], chosen: Sequence[LeverRow], attempt: AttemptFn
) -> Attempt | None:
    """Returns the levers that save most, one of each family; None: they are those `chosen`.

    A lever that saves nothing alone may do so after others: checkpointing, where the peak is in
    the step of the optimizer. Those that promise something are taken, the ones with most first.
    """
    helping = [
        one
        for one in attempts
        if one.has_figures
        and not one.changes_job
        and ((one.saved_bytes or 0) > 0 or one.rows[0].promise)
    ]
    rows: list[LeverRow] = []
    for one in sorted(helping, key=_order_of_saving):
        (row,) = one.rows
        if go_together(rows, row):
            rows.append(row)
    if len(rows) < 2 or {row.name for row in rows} == {row.name for row in chosen}:
        return None
    return attempt(rows)


def _order_of_saving(one: Attempt) -> tuple[bool, float, float]:
    row = one.rows[0]
    return row.uses_host, -max(0, one.saved_bytes or 0), -_share(row)


def _share(row: LeverRow) -> float:
    return sum(share for _, share in row.promise)


def _milder(
    found: Attempt, singles: Sequence[Attempt], table: Sequence[LeverRow], attempt: AttemptFn
) -> Attempt:
    """Returns it with a milder lever of its family for each one of large effect, if that fits.

    Milder are those of less effect, and those that the table of levers has before it.
    """
    for row in found.rows:
        if row.effect is not Effect.LARGE:
            continue
        before = [other.name for other in table if other.family == row.family]
        before = before[: before.index(row.name)] if row.name in before else []
        least = _share(row) / 2  # a lever that promises far less cannot take its place
        others = [
            one.rows[0]
            for one in singles
            if one.has_figures and one.rows[0].name in before and _share(one.rows[0]) >= least
        ]
        for other in sorted(others, key=lambda one: (_RANK[one.effect], before.index(one.name))):
            rest = [one for one in found.rows if one is not row]
            if not go_together(rest, other):
                continue
            changed = attempt([other if one is row else one for one in found.rows])
            if changed.fits:
                found = changed
                break
    return found


def _fits(one: Attempt) -> bool:
    return one.fits


def minimal(found: Attempt, attempt: AttemptFn, is_good: Good) -> Attempt:
    """Returns it without the levers that it can do without; those of most effect go first."""
    order = sorted(found.rows, key=lambda row: (-_RANK[row.effect], -found.rows.index(row)))
    for row in order:
        if len(found.rows) == 1:
            break
        fewer = attempt([one for one in found.rows if one is not row])
        if is_good(fewer):
            found = fewer
    return found


def _strengthened(found: Attempt, family: Sequence[LeverRow], attempt: AttemptFn) -> Attempt:
    """Returns it with the weakest of the stronger levers of a family that fits; else as it is."""
    for row in found.rows:
        stronger = [
            one for one in family if one.family == row.family and one.strength > row.strength > 0
        ]
        changed = _weakest(found, row, stronger, attempt)
        if changed is not None:
            return changed
    return found


def _weakened(found: Attempt, family: Sequence[LeverRow], attempt: AttemptFn) -> Attempt:
    """Returns it with the weakest lever of each family that is enough, like 2 micro-batches."""
    for row in found.rows:
        weaker = [
            one for one in family if one.family == row.family and 0 < one.strength < row.strength
        ]
        changed = _weakest(found, row, [*weaker, row], attempt)
        if changed is not None:
            found = changed
    return found


def _weakest(
    found: Attempt, row: LeverRow, others: Sequence[LeverRow], attempt: AttemptFn
) -> Attempt | None:
    """Returns it with `row` replaced by the weakest of `others` that fits; None: none fits."""

    def with_other(other: LeverRow) -> Attempt:
        return attempt([other if one is row else one for one in found.rows])

    order = sorted(others, key=lambda one: one.strength)
    if not order:
        return None
    best = with_other(order[-1])
    if not best.fits:
        return None
    low, high = 0, len(order) - 1  # the one at `high` fits
    while low < high:
        middle = (low + high) // 2
        changed = with_other(order[middle])
        if changed.fits:
            best, high = changed, middle
        else:
            low = middle + 1
    return best


def improved(
    attempts: Sequence[Attempt],
    attempt: AttemptFn,
    start: Attempt,
    better: Callable[[Attempt, Attempt], bool],
) -> Attempt:
    """Adds levers to `start` one by one, in order, and keeps each with which it is better."""
    found = start
    for one in attempts:
        (row,) = one.rows
        if go_together(found.rows, row):
            more = attempt([*found.rows, row])
            if better(more, found):
                found = more
    return found
