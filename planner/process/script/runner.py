"""Runs a script's command as Runner runs a planned step: the same questions, the same answers.

In: the command, the emulated device, time limits. Out: StepTraces with their recordings. Each
question takes a values pass, whose log is kept, and a pass answered from it, each a run of the
whole command. The first values pass shows whether the script trains; one of inference makes it
once more, now that its whole run is known to count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from planner.config.step import StepConfig
from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import without_limit
from planner.errors import ChildError
from planner.process.script.ends import ScriptLimits, is_inference, report_of
from planner.process.script.watched_command import CommandResult, run_command
from planner.process.script.words import ScriptCommand, with_value
from planner.wire.jobs import RunAnswer
from planner.wire.module_counts import ModelCounts
from planner.wire.script import ScriptOrder, ScriptReport
from planner.wire.trace import AllocationTrace, Recording, RequestLog, RunOutcome, StepTrace
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

_Key = tuple[str, int | None, int]  # profile, batch, seed


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
        self._infers: bool | None = None  # not known before the first values pass
        self.own_batch: int | None = None
        self.report: ScriptReport | None = None
        self.result: CommandResult | None = None
        self.warnings: list[str] = []

    @property
    def infers(self) -> bool:
        """Returns whether the script is one of inference, as its first run has shown."""
        return bool(self._infers)

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
                "the script has no model that is called"
                if self._infers
                else "a step is counted once its optimizer has its state, in the second step: the "
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
            if self._infers is None:
                self._infers = self.report is not None and is_inference([self.report])
                if self._infers:
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
            infers=self.infers,
        )
        result = run_command(
            self._with_batch(batch),
            order,
            working=self._working,
            timeout_s=self._limits.timeout_s,
            kept=self._limits.kept,
            shields=self._limits.shields,
        )
        report = report_of(result, self._limits, infers=self._infers)
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
