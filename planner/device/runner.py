"""Runs of one target on emulated cards, whatever the user's code does while it is imported.

In: the target and where torch is. Out: StepTraces. One child serves all runs where it can be
forked cleanly; otherwise each run gets a child of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType

from planner.device.build import EmulatedDevice
from planner.device.launcher import Child, late_crash
from planner.errors import ChildError
from planner.module_counts import ModelCounts
from planner.protocol import ChildVersions, LoadRequest, RunEnded
from planner.trace import AllocationTrace, Outcome, StepTrace
from planner.workload import StepConfig, Target


class Runner:
    """Answers runs of one target; may be used by several threads. A context manager."""

    def __init__(
        self,
        target: Target,
        *,
        device: EmulatedDevice,
        profile: str,
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._request = LoadRequest(
            target=target,
            libraries=tuple(str(path) for path in device.libraries),
            driver_folder=str(device.driver_folder),
            profile=profile,
        )
        self._timeout_s = timeout_s
        self._environment = environment
        self._one_at_a_time = threading.Lock()
        self._children_lock = threading.Lock()
        self._children: set[Child] = set()
        self._closed = False
        self._child = self._start(profile)
        self._unused: Child | None = None
        self.single_run: str | None = None
        self.warnings: list[str] = []

    def _start(self, profile: str) -> Child:
        with self._children_lock:
            if self._closed:
                raise ChildError("no further run is started: the estimate has been given up")
            child = Child(
                replace(self._request, profile=profile),
                timeout_s=self._timeout_s,
                environment=self._environment,
            )
            self._children.add(child)
            return child

    def _end(self, child: Child) -> None:
        child.close()
        with self._children_lock:
            self._children.discard(child)

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._children_lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            self._end(child)

    def wait_loaded(self) -> ChildVersions:
        """Waits until the user's code is imported.

        Raises:
            PlannerError: it could not be.
        """
        versions, self.single_run = self._child.wait_loaded()
        self._unused = self._child
        return versions

    def run(self, profile: str, config: StepConfig) -> StepTrace:
        """One run on the card of `profile`.

        Raises:
            ChildError: the run was killed before it delivered, or took too long.
        """
        ended = self._run(profile, config, record=False)
        assert ended.trace is not None, "a run without a trace is an error"
        return ended.trace

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        """The same run with every request to the allocator; None where it could not be recorded.

        Raises:
            ChildError: the run was killed before it delivered, or took too long.
        """
        ended = self._run(profile, config, record=True)
        assert ended.trace is not None, "a run without a trace is an error"
        if ended.trace.outcome is Outcome.MODEL_ERROR:
            # The user's code may use torch's profiler itself, and there is one only.
            return self.run(profile, config), None
        return ended.trace, ended.allocations

    def _run(self, profile: str, config: StepConfig, *, record: bool) -> RunEnded:
        if self.single_run is None:
            ended = self._child.run(profile, config, record=record)
        else:
            ended = self._run_alone(profile, config, record=record)
        warning = late_crash(ended)
        if warning is not None:
            self.warnings.append(warning)
        return ended

    def inspect(self, profile: str, config: StepConfig, depth: int) -> ModelCounts:
        """The one request of a Runner that does not run: counts by module down to `depth`.

        Raises:
            PlannerError: the user's code raised, or an option cannot be used with this model.
            ChildError: the child was killed before it delivered, or took too long.
        """
        ended = self._child.inspect(profile, config, depth)
        assert ended.counts is not None
        warning = late_crash(ended)
        if warning is not None:
            self.warnings.append(warning)
        return ended.counts

    def _run_alone(self, profile: str, config: StepConfig, *, record: bool) -> RunEnded:
        with self._one_at_a_time:
            child, self._unused = self._unused, None
            if child is None or profile != self._request.profile:
                # The user's code saw another card while it was imported, or has run already.
                if child is not None:
                    self._end(child)
                child = self._start(profile)
                child.wait_loaded()
            try:
                return child.run(profile, config, record=record)
            finally:
                self._end(child)
