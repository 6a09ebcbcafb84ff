"""Makes attempts with levers, reports each as a Trial, and keeps to the budget of time.

In: LeverRows. Out: Attempts. Convention: an attempt that is not begun in time is kept as one that
was not tried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.estimation.advice.combine import Attempt, merged
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Trials, Tried
from planner.estimation.context import side_by_side
from planner.estimation.probes import SearchAxis
from planner.results.advice import Trial, TrialState

OPTIMIZER = "optimizer"  # the family of its levers
OUT_OF_TIME = "the budget of time was used up"
OnTrial = Callable[[Trial], None]


class Deadline:
    """The time in which trials may begin; without a budget it never ends."""

    def __init__(self, budget_s: float | None) -> None:
        self._end_s = None if budget_s is None else time.monotonic() + budget_s

    @property
    def is_over(self) -> bool:
        """Returns whether no further trial is begun."""
        return self._end_s is not None and time.monotonic() >= self._end_s


class Attempts:
    """Makes attempts. Several threads may use it; `made` are all, in the order of their end.

    With `times_saving_bytes`, the time of a step is counted only for single levers with which it
    fits, and for those that save so much: a count costs more than a run. Another optimizer is not
    among the latter: its step is a small part of the time. None: always.
    """

    def __init__(
        self,
        trials: Trials,
        deadline: Deadline,
        on_trial: OnTrial,
        times_saving_bytes: float | None = None,
    ) -> None:
        self._trials, self._deadline, self._on_trial = trials, deadline, on_trial
        self._times_saving_bytes = times_saving_bytes
        self._lock = threading.Lock()
        self._made: dict[tuple[str, ...], Attempt] = {}
        self.base = self([])

    @property
    def is_over(self) -> bool:
        """Returns whether no further trial is begun."""
        return self._deadline.is_over

    @property
    def made(self) -> tuple[Attempt, ...]:
        """Returns every attempt but that without levers."""
        return tuple(one for one in self._made.values() if one.rows)

    def __call__(self, rows: Sequence[LeverRow]) -> Attempt:
        """Tries levers together; the same ones are tried once."""
        key = tuple(sorted(row.name for row in rows))
        known = self._made.get(key)
        if known is None or known.tried.state is TrialState.NOT_TRIED:
            known = self._keep(key, self._attempt(tuple(rows)))
        return known

    def all_of(self, rows: Sequence[LeverRow]) -> list[Attempt]:
        """Tries levers one by one, one for each processor at a time."""
        return side_by_side(lambda row: self([row]), rows)

    def left(self, row: LeverRow, state: TrialState, reason: str) -> Attempt:
        """Keeps a lever that is not tried, with the reason."""
        tried = Tried(changes=row.options, state=state, reason=reason)
        return self._keep((row.name,), Attempt(rows=(row,), tried=tried))

    def sized(self, one: Attempt, axis: SearchAxis) -> Attempt:
        """Returns the attempt with the largest value that fits, by replay."""
        if one.largest is not None or not one.has_figures or self._deadline.is_over:
            return one
        found = replace(one, largest=self._trials.largest(one.tried, axis))
        return self._keep(tuple(sorted(row.name for row in one.rows)), found)

    def with_largest(self, one: Attempt, largest: int | None) -> Attempt:
        """Keeps the attempt with the largest value that runs have shown."""
        return self._keep(
            tuple(sorted(row.name for row in one.rows)), replace(one, largest=largest)
        )

    def timed(self, one: Attempt) -> Attempt:
        """Returns the attempt with its time."""
        if one.time_factor is not None or not one.has_figures:
            return one
        tried = self._trials.timed(one.tried.changes)
        found = replace(one, tried=tried, time_factor=self._trials.time_factor(tried))
        return self._keep(tuple(sorted(row.name for row in one.rows)), found)

    def _attempt(self, rows: tuple[LeverRow, ...]) -> Attempt:
        changes = merged(rows)
        if rows and self._deadline.is_over:
            tried = Tried(changes=changes, state=TrialState.NOT_TRIED, reason=OUT_OF_TIME)
            return Attempt(rows=rows, tried=tried)
        tried = self._trials.run(changes)
        before = self._trials.run({}).total_bytes
        after = tried.total_bytes
        saved = None if before is None or after is None else before - after
        if self._needs_time(rows, tried, saved):
            tried = self._trials.timed(changes)
        return Attempt(
            rows=rows,
            tried=tried,
            saved_bytes=saved,
            time_factor=self._trials.time_factor(tried),
        )

    def _needs_time(self, rows: tuple[LeverRow, ...], tried: Tried, saved: int | None) -> bool:
        """Returns whether the choice of a plan looks at the time."""
        least = self._times_saving_bytes
        if least is None or not rows:
            return True
        if len(rows) > 1 or rows[0].changes_job:
            return False
        is_large = (saved or 0) >= least and rows[0].family != OPTIMIZER
        return tried.fits is True or is_large

    def _keep(self, key: tuple[str, ...], one: Attempt) -> Attempt:
        with self._lock:
            self._made[key] = one
        self._on_trial(trial_of(one))
        return one


def trial_of(one: Attempt, *, largest_is_batch: bool = True) -> Trial:
    """Returns an attempt as a result shows it."""
    tried = one.tried
    return Trial(
        levers=tuple(row.name for row in one.rows),
        state=tried.state,
        reason=tried.reason,
        method=tried.method,
        batch_size=None if tried.config is None else tried.config.batch_size,
        peak_reserved_bytes=tried.peak_reserved_bytes,
        device_total_bytes=tried.total_bytes,
        saved_bytes=one.saved_bytes,
        fits=tried.fits,
        step_s=tried.step_s,
        time_factor=one.time_factor,
        offload_s=tried.offload_s,
        offloaded_bytes=tried.offloaded_bytes,
        max_batch_size=one.largest if largest_is_batch else None,
    )
