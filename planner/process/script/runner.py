"""Runs a script's command as Runner runs a planned step: the same questions, the same answers.

In: the command, the emulated device, time limits. Out: StepTraces with their recordings. Each
question takes a values pass, whose log is kept, and a pass answered from it, each a run of the
whole command.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from planner.config.step import StepConfig
from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import without_limit
from planner.errors import ChildError, ChildTimeoutError, ModelError, UsageError
from planner.process.exit_reasons import hint, signal_name
from planner.process.script.watched_command import CommandResult, run_command, was_refused
from planner.process.script.words import ScriptCommand, with_value
from planner.wire.jobs import RunAnswer
from planner.wire.module_counts import ModelCounts
from planner.wire.script import ENDED_CODE, PlayedRank, ScriptEnd, ScriptOrder, ScriptReport
from planner.wire.trace import AllocationTrace, Recording, RequestLog, RunOutcome, StepTrace
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest
from planner.wire.warden import CommandEnded, ShieldKind

_Key = tuple[str, int | None, int]  # profile, batch, seed
_SHIELDS = (ShieldKind.NAMESPACES, ShieldKind.LANDLOCK)
_EXTENSIONS = "torch/utils/cpp_extension.py"
_COMPILES = (
    ". It compiles an extension, which is lost after each run: run the script once without "
    "planner, or keep it with --allow-writes ~/.cache/torch_extensions"
)
_ENDS = (ScriptEnd.STEPS_DONE, ScriptEnd.EXCEPTION, ScriptEnd.ENDED, ScriptEnd.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """Steps and seconds of a run, folders whose writes are kept, and shields to try.

    `ranks` is the rank that is played of a job on several GPUs.
    """

    steps: int
    timeout_s: float
    kept: tuple[Path, ...] = ()
    shields: tuple[ShieldKind, ...] = _SHIELDS
    ranks: PlayedRank | None = None


class ScriptRunner:
    """Runs one command; several threads may use it.

    `batch_argument` names the word that holds the batch size; without one, that of the first
    DataLoader is varied.
    """

    def __init__(
        self,
        command: ScriptCommand,
        *,
        device: EmulatedDevice,
        limits: ScriptLimits,
        working: Path,
        batch_argument: str | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._command = command
        self._device = device
        self._limits = limits
        self._working = working
        self._argument = batch_argument
        self._progress = on_progress or (lambda _: None)
        self._logs: dict[_Key, ReadLog] = {}
        self._lock = threading.Lock()
        self._first: dict[str, RunAnswer] = {}
        self._counted: dict[int | None, ModelCounts] = {}
        self.own_batch: int | None = None
        self.report: ScriptReport | None = None
        self.result: CommandResult | None = None
        self.warnings: list[str] = []

    def first(self, profile: str) -> ScriptReport:
        """Runs the command as it is and records it; `record` gives the same answer later.

        Raises:
            PlannerError: it gives no figure.
        """
        self._first[profile] = self._run(profile, None, Recording.EVENTS)
        assert self.report is not None, "a run has reported"
        return self.report

    def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
        """Runs the command with the batch of `config`."""
        return self._run(profile, self._batch(config), Recording.NOTHING, seed).trace

    def requests(self, profile: str, config: StepConfig) -> tuple[StepTrace, RequestLog | None]:
        """Runs it and records each request to the allocator."""
        found = self._run(profile, self._batch(config), Recording.REQUESTS)
        return found.trace, found.requests

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        """Runs it and records the purpose of each request."""
        batch = self._batch(config)
        kept = self._first.get(profile) if batch is None else None
        found = kept or self._run(profile, batch, Recording.EVENTS)
        return found.trace, found.allocations

    def count(self, profile: str, config: StepConfig) -> ModelCounts:
        """Returns what the values pass with this batch has counted.

        Raises:
            ChildError: it has counted nothing.
        """
        found = self._counted.get(self._batch(config))
        if found is None:
            raise ChildError(
                "a step is counted once its optimizer has its state, in the second step: the "
                "script has ended before, or has no model that is called"
            )
        return found

    def _batch(self, config: StepConfig) -> int | None:
        """Returns the batch to run with; None: the command's own."""
        return None if config.batch_size == self.own_batch else config.batch_size

    def _run(
        self, profile: str, batch: int | None, recording: Recording, seed: int = 0
    ) -> RunAnswer:
        """Runs with values; if the script fails in the values pass, returns the answer of that."""
        unlimited = without_limit(profile)  # values depend on the card, not on its capacity
        key = (unlimited, batch, seed)
        log = self._logs.get(key)
        if log is None:
            asked = ValuesRequest(kind=ValuesPass.VALUES, seed=seed)
            found = self._once(unlimited, batch, Recording.NOTHING, asked)
            if found.trace.outcome is not RunOutcome.COMPLETED or found.log is None:
                return found
            log = self._logs[key] = found.log
        answered = ValuesRequest(kind=ValuesPass.ANSWERED, seed=seed, log=log)
        return self._once(profile, batch, recording, answered)

    def _once(
        self, profile: str, batch: int | None, recording: Recording, values: ValuesRequest
    ) -> RunAnswer:
        self._progress(
            f"running the script{'' if batch is None else f' with batch {batch}'}"
            f"{', for the values that it reads' if values.log is None else ''}"
        )
        order = ScriptOrder(
            libraries=tuple(str(path) for path in self._device.libraries),
            driver_folder=str(self._device.driver_folder),
            profile=profile,
            folder="",
            steps=self._limits.steps,
            recording=recording,
            values=values,
            batch_size=None if self._argument is not None else batch,
            ranks=self._limits.ranks,
        )
        result = run_command(
            self._with_batch(batch),
            order,
            working=self._working,
            timeout_s=self._limits.timeout_s,
            kept=self._limits.kept,
            shields=self._limits.shields,
        )
        report = report_of(result, self._limits)
        with self._lock:
            self.result = result
            if batch is None:
                self.report = report
            if report.counted is not None:
                self._counted[batch] = report.counted
        trace = report.answer.trace
        if values.log is not None:  # the process got it without the summary of its reads
            trace = replace(trace, value_reads=values.log.reads)
        return replace(report.answer, trace=replace(trace, batch_size=batch or trace.batch_size))

    def _with_batch(self, batch: int | None) -> ScriptCommand:
        if batch is None or self._argument is None:
            return self._command
        return replace(self._command, words=with_value(self._command.words, self._argument, batch))


def report_of(result: CommandResult, limits: ScriptLimits) -> ScriptReport:
    """Returns the report that counts: of the process that made the most steps.

    Raises:
        PlannerError: there is none that gives a figure; says why.
    """
    if was_refused(result):
        raise UsageError(
            "nothing on this machine keeps what the script writes from the disk "
            f"({'; '.join(result.shield.reasons)}). Name the folders that it may write with "
            "--allow-writes DIR, or allow all with --allow-writes /"
        )
    if result.timed_out:
        raise ChildTimeoutError(
            f"the script did not make {limits.steps} optimizer steps within {limits.timeout_s:g} s "
            f"and was stopped; allow more with --timeout, or look where it waits"
            f"{_COMPILES if _EXTENSIONS in result.stack else ''}{result.stack}"
        )
    if not result.reports:
        raise _without_report(result)
    found = max(result.reports, key=lambda one: (one.steps, one.used_card, -_ENDS.index(one.end)))
    refusals = [one.refusal for one in result.reports if one.end is ScriptEnd.REFUSED]
    if refusals:
        raise UsageError(refusals[0])
    if found.end is ScriptEnd.EXCEPTION:
        return found
    if not found.steps:
        raise ModelError(_without_a_step(found, result))
    check_card_used(found, "script")
    return found


def check_card_used(report: ScriptReport, what: str) -> None:
    """Checks a script or block that has made steps.

    Raises:
        ModelError: it never used the card.
    """
    if not report.used_card:
        raise ModelError(
            f"the {what} made {report.steps} optimizer steps and never used the card: it trains on "
            "the CPU. Look at the device that it chooses"
        )


def _without_report(result: CommandResult) -> ModelError | ChildError:
    ended = result.ended
    if ended is None:
        return ChildError("the script was stopped before it had a result")
    if ended.code == ENDED_CODE:
        return ChildError(
            "the script made its steps, and planner could not report them; what it printed says "
            "why. Please report this"
        )
    if ended.left:
        return ModelError(
            f"the command ended at once and left {ended.left} processes in the background, which "
            "were stopped: start the script in the foreground"
        )
    if ended.code < 0:
        number = -ended.code
        return ChildError(
            f"the script ended before it had a result: killed by {signal_name(number)}"
            f"{hint(number)}"
        )
    if not result.torch_seen:
        return ModelError(
            f"the command ended (exit code {ended.code}) and no Python of it imported torch; "
            "what it printed says why. `python -I` and a PYTHONPATH of its own keep planner out"
        )
    return ModelError(
        f"the script left its process (exit code {ended.code}) before it made a step, without "
        "Python's exit handlers: os._exit, or a crash in native code"
    )


def _without_a_step(found: ScriptReport, result: CommandResult) -> str:
    code = "" if result.ended is None else f" with exit code {result.ended.code}"
    if not found.used_card:
        return (
            f"the script ended{code} without using the card: it imported torch, made no optimizer "
            "step and put nothing on the card"
        )
    return (
        f"the script ended{code} before an optimizer made a step; optimizers are seen that are "
        "subclasses of torch.optim.Optimizer"
    )


def early_end(report: ScriptReport, limits: ScriptLimits, ended: CommandEnded | None) -> str | None:
    """Returns a warning where the script made fewer steps than it was given."""
    if (
        report.end is ScriptEnd.STEPS_DONE
        or report.answer.trace.outcome is not RunOutcome.COMPLETED
    ):
        return None
    code = f" with exit code {ended.code}" if ended is not None and ended.code else ""
    return (
        f"the script ended by itself{code} after {report.steps} of {limits.steps} optimizer steps "
        "(few data, early stopping, or its own limit): the peak of later steps may be higher"
    )
