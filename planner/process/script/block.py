"""Runs a block of code in this process on the emulated card, after a fork of it has run it.

In: the emulated device, a profile, the steps. Out: the ScriptReport of the block in this process.
Convention: the fork runs the same lines first, for the values that they read; its output is thrown
away. Where it trains nothing, a second fork counts all of it as one step of inference. Nothing
keeps what the block writes from the disk. From `begin` on this process is itself the side that has
torch.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

from planner.emulator.build import EmulatedDevice
from planner.errors import ChildError, ChildTimeoutError, ModelError, UsageError
from planner.machine.processes import kill
from planner.process.exit_reasons import hint, signal_name
from planner.process.script.ends import check_card_used, is_inference, without_step
from planner.process.script.watched_command import reports_in
from planner.wire.script import ENDED_CODE, ScriptEnd, ScriptOrder, ScriptReport, StepsDone
from planner.wire.trace import Recording
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

_PAUSE_S = 0.02
_KILL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReports:
    """The report of the block in this process, and of its fork, which kept values.

    `infers`: the block makes no optimizer step, and all of it is one step of inference.
    """

    here: ScriptReport
    of_values: ScriptReport
    log: ReadLog
    infers: bool = False


class _RunningBlock(Protocol):
    """The watched block; see worker/script/running_block.py."""

    def finish(self, error: BaseException | None) -> ScriptReport | None: ...


class BlockRun:
    """The block, between `begin` and `finish`. One for a process."""

    def __init__(self, *, device: EmulatedDevice, profile: str, steps: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="planner-block-")
        self._order = ScriptOrder(
            libraries=tuple(str(path) for path in device.libraries),
            driver_folder=str(device.driver_folder),
            profile=profile,
            folder=self._folder.name,
            steps=steps,
        )
        self._running: _RunningBlock | None = None
        self._of_values: ScriptReport | None = None

    def begin(self, timeout_s: float) -> None:
        """Returns first in a fork, which ends with the block, and then here.

        Raises:
            ModelError: the block failed in the fork. ChildTimeoutError: it took too long.
            ChildError: it ended without a report.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        worker = import_module("planner.worker.script.block")
        here, report = os.getpid(), None
        while report is None or self._begins_to_infer(report):
            fork = os.fork()
            if fork == 0:
                values = ValuesRequest(kind=ValuesPass.VALUES)
                self._running = worker.begin_in_fork(replace(self._order, values=values), here)
                return
            report = self._report_of(fork, timeout_s)
        self._of_values = _checked(report)
        answered = ValuesRequest(kind=ValuesPass.ANSWERED, log=self._of_values.answer.log)
        order = replace(self._order, values=answered, recording=Recording.EVENTS)
        self._running = worker.begin_here(order)

    def _begins_to_infer(self, report: ScriptReport) -> bool:
        """Returns whether the fork has shown that the block infers; another one counts it then."""
        if self._order.infers or not is_inference([report]):
            return False
        self._order = replace(self._order, infers=True)
        return True

    def _report_of(self, fork: int, timeout_s: float) -> ScriptReport:
        status = _waited(fork, timeout_s)
        reports = list(reports_in(Path(self._folder.name), process=fork))
        if reports:
            return reports[0]
        code = os.waitstatus_to_exitcode(status)
        how = f"killed by {signal_name(-code)}{hint(-code)}" if code < 0 else f"exit code {code}"
        raise ChildError(
            f"the block left its process before it had a result: {how}"
            f"{'' if code != ENDED_CODE else '; planner could not report it'}"
        )

    def finish(self, error: BaseException | None) -> BlockReports | None:
        """Returns the reports; None where an exception of the block ended it. Ends the fork."""
        assert self._running is not None, "the block has begun"
        report = self._running.finish(error)
        self._folder.cleanup()
        of_values = self._of_values
        if report is not None and report.refusal:
            raise UsageError(report.refusal)
        if report is None or report.end is ScriptEnd.EXCEPTION or of_values is None:
            return None
        log = of_values.answer.log
        assert log is not None, "it is there where the fork did not fail"
        return BlockReports(here=report, of_values=of_values, log=log, infers=self._order.infers)


def ends_block(error: BaseException | None) -> bool:
    """Returns whether the exception is the end of the steps."""
    return isinstance(error, StepsDone)


def _waited(fork: int, timeout_s: float) -> int:
    deadline_s = time.monotonic() + timeout_s
    try:
        while True:
            ended, status = os.waitpid(fork, os.WNOHANG)
            if ended:
                return status
            if time.monotonic() > deadline_s:
                raise ChildTimeoutError(
                    f"the block did not end within {timeout_s:g} s and was stopped; allow more "
                    "with timeout_s"
                )
            time.sleep(_PAUSE_S)
    except BaseException:
        kill(fork, _KILL)
        with suppress(ChildProcessError):
            os.waitpid(fork, 0)
        raise


def _checked(report: ScriptReport) -> ScriptReport:
    """Returns a report that gives figures.

    Raises:
        UsageError: the block is refused. ModelError: it failed, or made no step on the card.
    """
    failure = report.answer.trace.failure
    if report.refusal:
        raise UsageError(report.refusal)
    if failure is not None:
        raise ModelError(
            f"the block failed ({failure.during}): {failure.kind}: {failure.message}",
            failure.frames,
        )
    if not report.steps:
        raise ModelError(f"the block ended {without_step(report)}")
    check_card_used(report, "block")
    return report
