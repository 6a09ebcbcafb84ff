"""Watches a training loop: of accelerate, or by hand.

    from planner.callbacks.loop import Watch
    watch = Watch("run.planner", batch_size=32, log=accelerator.log)
    for batch in loader:
        ...
        watch.step()

In: an Estimate, or the file of --save; a call for each step. Out: after some steps the figures,
once, in the user's log, and the run in `planner history`. Convention: no call raises; the first
error is one warning, and then the watch is over.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import wraps
from statistics import median
from time import perf_counter
from typing import Any, Concatenate, ParamSpec

from planner.callbacks.comparison import card_of, log_figures, verification, why_not_kept
from planner.callbacks.measurement import measurement
from planner.errors import UsageError
from planner.results.estimate import Estimate
from planner.results.saved_file import load
from planner.verification import history

AFTER_STEPS = 20  # optimizer state is there after the first, the allocator is settled after some
_LOG = logging.getLogger("planner")

P = ParamSpec("P")
Log = Callable[..., Any]


def _never_raises(
    method: Callable[Concatenate[Watch, P], None],
) -> Callable[Concatenate[Watch, P], None]:
    """Returns the method with its errors turned into one warning: training goes on."""

    @wraps(method)
    def guarded(self: Watch, /, *words: P.args, **options: P.kwargs) -> None:
        if self.is_over:
            return
        try:
            method(self, *words, **options)
        except Exception as error:
            self.is_over = True
            _LOG.warning("planner stops watching this run: %s: %s", type(error).__name__, error)

    return guarded


class Watch:
    """Watches one run.

    `estimate` is the prediction, or the file that `--save` wrote. After `after_steps` steps the
    figures go to `log`, which is called with a dict and `step=N`, like accelerator.log or
    wandb.log; None: Python's logging. `batch_size` is that of the run: only a run with the batch of
    the estimate is kept in the history, and none with keep=False.
    """

    def __init__(
        self,
        estimate: Estimate | str | os.PathLike[str],
        *,
        batch_size: int | None = None,
        after_steps: int = AFTER_STEPS,
        log: Log | None = None,
        keep: bool = True,
    ) -> None:
        self.is_over = False
        self.estimate: Estimate | None = None
        self.batch_size = batch_size
        self.log = log
        self._after_steps, self._keep = max(2, after_steps), keep
        self._steps, self._step_s = 0, list[float]()
        self._before_s: float | None = None
        self._read(estimate)

    @_never_raises
    def _read(self, given: Estimate | str | os.PathLike[str]) -> None:
        found = given if isinstance(given, Estimate) else load(given)
        if not isinstance(found, Estimate):
            raise UsageError(f"{given!r} is not the result of `planner estimate`")
        self.estimate = found

    @_never_raises
    def attempt(self, work: Callable[[], None]) -> None:
        """Does a piece of work of a callback; its error ends the watch and not the training."""
        work()

    @_never_raises
    def step(self) -> None:
        """Counts an optimizer step; call it at the end of each."""
        now_s = perf_counter()
        if self._before_s is not None:
            self._step_s.append(now_s - self._before_s)
        self._before_s = now_s
        self._steps += 1
        if self._steps >= self._after_steps:
            self.is_over = True
            self._report()

    def _report(self) -> None:
        """Logs predicted and measured figures, and keeps the run."""
        found, estimate = measurement(), self.estimate
        if found is None:
            _LOG.warning("planner has nothing to compare: this process uses no CUDA card")
            return
        assert estimate is not None
        predicted = card_of(estimate, found)
        # the first step is left out: it also makes the optimizer's state, and compiles
        figures = log_figures(predicted, found, median(self._step_s[1:] or self._step_s))
        if self.log is None:
            _LOG.info("planner: %s", figures)
        else:
            self.log(figures, step=self._steps)
        reason = why_not_kept(estimate, predicted, found, self.batch_size)
        if not self._keep:
            return
        if reason is not None or predicted is None:
            _LOG.info("planner keeps nothing of this run: %s", reason)
            return
        number = history.add(verification(estimate, predicted, found))
        _LOG.info("planner keeps this run as entry %d of `planner history`", number)
