"""A block of code on the emulated card: it is watched like a script, and its process goes on.

In: a ScriptOrder, just after torch's import. Out: a ScriptReport. Convention: where step N + 1
begins, StepsDone is raised in place of the end of the process.
"""

from __future__ import annotations

import os
from typing import Any

from planner.wire.script import ScriptEnd, ScriptOrder, ScriptReport, StepsDone
from planner.worker.script.running import RunningScript

_OVER = (
    "the steps on the emulated card are over; this process has no real card, and a training "
    "belongs in another one"
)


class RunningBlock(RunningScript):
    """Watches the block in this process, which may end with it (`ends_process`)."""

    def __init__(self, order: ScriptOrder, *, ends_process: bool) -> None:
        super().__init__(order)
        self._ends_process = ends_process
        self.report: ScriptReport | None = None

    def finish(self, error: BaseException | None) -> ScriptReport | None:
        """Reports a block that has ended, by `error` if that is not None.

        In a process that ends with the block, this ends it.
        """
        if isinstance(error, StepsDone) and self.report is not None:
            return self.report
        self._seen.error = error
        end = ScriptEnd.ENDED if error is None else ScriptEnd.EXCEPTION
        if self._ends_process:
            self._end(end)
        self.report = self._finished(end)
        return self.report

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self.report is not None and os.getpid() == self._pid:
            raise StepsDone(_OVER)
        super()._before_step(optimizer, args, kwargs)

    def _end(self, end: ScriptEnd) -> None:
        if self._ends_process:
            super()._end(end)
        self.report = self._finished(end)
        raise StepsDone(_OVER)
