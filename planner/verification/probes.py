"""Makes probes: each is one run of the step in a process of its own, with its outcome.

In: a function that opens a runner, and an observation of the device. Out: ProbeRecords.
Convention: a process that was killed, hung or crashed is a record like any other; the next probe
then gets a new child.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from planner.config.step import StepConfig
from planner.errors import ChildError, ChildTimeoutError
from planner.memory.peak import breakdown
from planner.memory.probe import ProbeOutcome, probe_outcome
from planner.process.client import Runner
from planner.results.verification import Categories, ProbeRecord
from planner.units import format_bytes
from planner.wire.trace import RunOutcome, StepTrace

LEAST_STEPS = 3  # the first creates the optimizer state; all from the third on are alike
_TIMED_STEPS = 8  # in the last probe of the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The figures of a device for a run that fits; see ProbeRecord."""

    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    peak_device_bytes: int | None = None
    device_before_bytes: int | None = None
    context_overhead_bytes: int | None = None


class Observation:
    """Observes a run from outside; this class observes nothing."""

    def reading(self, trace: StepTrace) -> Reading:
        """Returns the memory of the run, by PyTorch's own figures."""
        return Reading(
            peak_allocated_bytes=trace.peak_allocated_bytes,
            peak_reserved_bytes=trace.peak_reserved_bytes,
        )


@dataclass(slots=True, kw_only=True)
class ProbeRunner:
    """Runs probes of one step on one device.

    `profile` is the device of a run (see emulator/profile.py); `observe` is open during each run;
    `judge` may correct its outcome. `lent` is an open runner of another owner: it is used until a
    probe breaks it, then it is None.
    """

    open_runner: Callable[[], AbstractContextManager[Runner]]
    profile: str
    config: StepConfig
    progress: Callable[[str], None]
    observe: Callable[[], AbstractContextManager[Observation]] = lambda: nullcontext(Observation())
    is_timed: bool = False
    judge: Callable[[ProbeRecord], ProbeRecord] = lambda record: record
    lent: Runner | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _runner: Runner | None = None

    def __enter__(self) -> ProbeRunner:
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.close()

    def probe(self, batch_size: int, again: bool) -> ProbeRecord:
        """Runs one probe; the last probe of a batch (`again`) makes more steps, to time them."""
        steps = max(LEAST_STEPS, self.config.steps)
        if again and self.is_timed:
            steps = max(_TIMED_STEPS, steps)
        config = replace(self.config, batch_size=batch_size, steps=steps)
        self.progress(f"probe: trying {batch_size}")
        begun = time.perf_counter()
        record = self.judge(self._record(config, begun))
        self.progress(_told(record))
        return record

    def categories(self, batch_size: int) -> Categories:
        """Returns the categories of the peak at a batch that fits; empty if not recorded."""
        config = replace(
            self.config, batch_size=batch_size, steps=max(LEAST_STEPS, self.config.steps)
        )
        self.progress(f"recording batch {batch_size}")
        try:
            trace, allocations = self._opened().record(self.profile, config)
        except ChildError:
            self._close()
            return ()
        if allocations is None or trace.outcome is not RunOutcome.COMPLETED:
            return ()
        found = breakdown(
            allocations,
            peak_allocated_bytes=trace.peak_allocated_bytes,
            peak_reserved_bytes=trace.peak_reserved_bytes,
        )
        return tuple(found.by_category().items())

    def _record(self, config: StepConfig, begun: float) -> ProbeRecord:
        try:
            with self.observe() as observation:
                trace = self._opened().run(self.profile, config)
        except ChildError as error:
            self._close()
            late = isinstance(error, ChildTimeoutError)
            return ProbeRecord(
                batch_size=config.batch_size,
                outcome=ProbeOutcome.TIME_OUT if late else ProbeOutcome.KILLED,
                seconds=time.perf_counter() - begun,
                detail=str(error).splitlines()[0],
            )
        outcome, failure = probe_outcome(trace.outcome), trace.failure
        detail = "" if failure is None else f"{failure.kind}: {failure.message}".splitlines()[0]
        reading = Reading()
        if outcome is ProbeOutcome.FITS:
            reading = observation.reading(trace)
        return ProbeRecord(
            batch_size=config.batch_size,
            outcome=outcome,
            seconds=time.perf_counter() - begun,
            peak_allocated_bytes=reading.peak_allocated_bytes,
            peak_reserved_bytes=reading.peak_reserved_bytes,
            peak_device_bytes=reading.peak_device_bytes,
            device_before_bytes=reading.device_before_bytes,
            context_overhead_bytes=reading.context_overhead_bytes,
            step_s=median(trace.step_s[1:]) if len(trace.step_s) > 1 else None,
            detail=detail,
        )

    def _opened(self) -> Runner:
        if self.lent is not None:
            return self.lent
        if self._runner is None:
            self._runner = self._stack.enter_context(self.open_runner())
            self._runner.wait_loaded()
        return self._runner

    def _close(self) -> None:
        self.lent = self._runner = None
        self._stack.close()


def _told(record: ProbeRecord) -> str:
    said = f"batch {record.batch_size}: {record.outcome.value}, {record.seconds:.1f} s"
    if record.peak_device_bytes is not None:
        said += f", {format_bytes(record.peak_device_bytes)}"
    return said
