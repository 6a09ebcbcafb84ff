"""Runs one target on one engine, whatever the user's code does while it is imported.

In: the target, and the emulated device or an engine of real hardware. Out: StepTraces. One child
serves all runs if it can be forked cleanly; otherwise each run gets a child of its own. With kept
answers, the child is started at the first job that has none.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import cast

from planner.config.model_shapes import ModelShapes
from planner.config.step import StepConfig
from planner.config.target import Target
from planner.emulator.build import EmulatedDevice
from planner.errors import ChildError
from planner.process.child import Answered, Child
from planner.process.environment import child_environment
from planner.process.kept import journal
from planner.process.kept.answers import FinishedSearch, KeptAnswer, KeptAnswers
from planner.process.kept.runs import KeptRuns
from planner.process.kept.state import now_ns
from planner.process.values_runs import ValuesRuns
from planner.wire.data_cost import DataCost
from planner.wire.jobs import (
    AnswerT,
    CountJob,
    DataJob,
    JobOf,
    NeedsValues,
    RunAnswer,
    RunJob,
    ShapesJob,
)
from planner.wire.module_counts import ModelCounts
from planner.wire.own_lever import OwnLever
from planner.wire.protocol import (
    ChildVersions,
    Engine,
    Loaded,
    LoadRequest,
)
from planner.wire.trace import AllocationTrace, Recording, RequestLog, RunOutcome, StepTrace
from planner.wire.value_reads import ValuesPass
from planner.wire.variables import ALLOC_CONF_VARIABLES

LOADING = "importing torch and the model"
_CHANGED = (
    "a file of the model has changed while this ran: some figures may be those of the old one; "
    "repeat it"
)


class Runner:
    """Runs one target in child processes. Several threads may use it. A context manager."""

    def __init__(
        self,
        target: Target,
        *,
        device: EmulatedDevice | Engine,
        profile: str = "",
        timeout_s: float,
        alloc_conf: str | None = None,
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] | None = None,
        kept: KeptAnswers | None = None,
    ) -> None:
        """Starts the first child, unless there are `kept` answers.

        `device` is the emulated device, or an engine of real hardware. `alloc_conf` is the
        allocator setting of most runs. `environment` is added to this process's variables.
        """
        self._on_progress = on_progress
        self._kept = kept
        self._values = ValuesRuns()
        self._request = _load_request(target, device, profile, alloc_conf)
        self._timeout_s = timeout_s
        self._environment = environment or {}
        self._one_at_a_time = threading.Lock()
        self._processors = threading.BoundedSemaphore(max(2, len(os.sched_getaffinity(0))))
        self._children_lock = threading.Lock()
        self._children: set[Child] = set()
        self._closed = False
        self._load_lock = threading.Lock()
        self._loaded: Loaded | None = None
        self._first: Child | None = None
        self._found = None if kept is None else kept.loaded()
        if kept is not None:
            self._request = replace(self._request, reports_reads=True)
        if self._found is None:
            self._start_first()
        self._unused: Child | None = None
        self.single_run: str | None = None
        self.warnings: list[str] = []
        self.levers: tuple[OwnLever, ...] = ()  # of the model file, once it is loaded

    def _start_first(self) -> None:
        if self._on_progress is not None:
            self._on_progress(LOADING)
        self._since_ns = now_ns()
        self._first = self._start(self._request)

    def _start(self, request: LoadRequest) -> Child:
        with self._children_lock:
            if self._closed:
                raise ChildError("no further run is started: the estimate has been given up")
            child = Child(
                request,
                timeout_s=self._timeout_s,
                environment=self._environment,
                on_progress=self._on_progress,
            )
            self._children.add(child)
            return child

    def _end(self, child: Child) -> None:
        child.close()
        with self._children_lock:
            self._children.discard(child)

    @contextmanager
    def _another(self, request: LoadRequest) -> Iterator[Child]:
        """Yields one more child, with the user's code imported; ends it afterwards."""
        child = self._start(request)
        try:
            child.wait_loaded()
            yield child
        finally:
            self._end(child)

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
        if self._kept is not None:
            self._kept.close()

    def wait_loaded(self) -> ChildVersions:
        """Waits until the user's code is imported; returns the child's versions.

        Kept answers name the versions too: then no child is started.

        Raises:
            PlannerError: it could not be imported.
        """
        loaded = self._load() if self._found is None else self._found
        assert loaded.versions is not None, "without a failure there are versions"
        self.levers = loaded.levers
        return loaded.versions

    def _load(self) -> Loaded:
        """Starts the first child if there is none, and waits until it has loaded the target."""
        with self._load_lock:
            if self._loaded is not None:
                return self._loaded
            if self._first is None:
                self._start_first()
            assert self._first is not None, "it was started"
            loaded = self._first.wait_loaded()
            self.single_run = loaded.single_run
            self._unused = None if self.single_run is None else self._first
            if self._kept is not None and not self._kept.keep_loaded(loaded, self._since_ns):
                self.warnings.append(_CHANGED)
            self._loaded = loaded
            return loaded

    def not_kept(self) -> tuple[str, ...]:
        """Returns a sentence on why answers of the child are not kept; none where they are."""
        if self._kept is None or self._kept.reason is None:
            return ()
        return (f"answers are not kept for a repeat: {self._kept.reason}",)

    def keep_finished(self, profile: str, limited: str, config: StepConfig) -> None:
        """Keeps that the runs of a step on a card, without and with its limit, are complete."""
        if self._kept is not None:
            job = RunJob(profile=profile, config=config, recording=Recording.EVENTS)
            self._kept.keep_finished(FinishedSearch(job=job, limited=limited))

    def kept_runs(self) -> KeptRuns | None:
        """Returns the kept answers, as long as no child is needed; None: there is one, or none."""
        if self._kept is None or self._first is not None:
            return None
        return KeptRuns(answers=self._kept)

    @property
    def _child(self) -> Child:
        """The first child, which has loaded the target."""
        self._load()
        assert self._first is not None, "it is loaded"
        return self._first

    def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
        """Runs the step on the card of `profile`, or under its limits.

        `seed` draws the numbers that only a card could compute, if the step reads such numbers.

        Raises:
            ChildError: the run was killed before it delivered, or took too long.
        """
        return self._run(RunJob(profile=profile, config=config), seed).trace

    def requests(self, profile: str, config: StepConfig) -> tuple[StepTrace, RequestLog | None]:
        """Runs the step and records each request to the allocator; None: it was not recorded.

        Raises:
            ChildError: the run was killed before it delivered, or took too long.
        """
        found = self._run(RunJob(profile=profile, config=config, recording=Recording.REQUESTS))
        return found.trace, found.requests

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        """Runs the step and records the purpose of each request; None: it was not recorded.

        Raises:
            ChildError: the run was killed before it delivered, or took too long.
        """
        found = self._run(RunJob(profile=profile, config=config, recording=Recording.EVENTS))
        if found.trace.outcome is RunOutcome.MODEL_ERROR:
            # The user's code may use torch's profiler itself, and only one can be active.
            return self.run(profile, config), None
        return found.trace, found.allocations

    def count(self, profile: str, config: StepConfig) -> ModelCounts:
        """Counts the cost of a step for the whole model; other threads may start runs meanwhile.

        Raises:
            PlannerError: the user's code raised, or an option cannot be used with this model.
            ChildError: the child was killed before it delivered, or took too long.
        """
        return self._counted(CountJob(profile=profile, config=config, depth=0), beside=True)

    def inspect(self, profile: str, config: StepConfig, depth: int) -> ModelCounts:
        """Counts the cost of a step by module down to `depth`.

        In a child that can serve one run only, this is that run.

        Raises:
            PlannerError: the user's code raised, or an option cannot be used with this model.
            ChildError: the child was killed before it delivered, or took too long.
        """
        return self._counted(CountJob(profile=profile, config=config, depth=depth), beside=False)

    def data_cost(self, seconds: float) -> DataCost:
        """Measures the cost of an item of the user's data set for about `seconds`.

        Raises:
            TargetError: the model file has no build_dataset.
            ModelError: the data set raised, or is not a data set.
            ChildError: the child was killed before it delivered, or took too long.
        """
        job = DataJob(seconds=seconds)
        self._load()
        if self.single_run is None:
            found = self._ask(self._child, job)
        else:
            with self._another(self._request) as child:  # the first one is kept for its only run
                found = self._ask(child, job)
        assert isinstance(found, DataCost), "no value of a card is read"
        return found

    def shapes(self) -> ModelShapes:
        """Returns the shapes of the parameters of a published language model.

        Raises:
            WrongTargetError: the target is none.
            ChildError: the child was killed before it delivered, or took too long.
        """
        found = self._ask(self._child, ShapesJob())
        assert isinstance(found, ModelShapes), "no value of a card is read"
        return found

    def _ask(self, child: Child, job: JobOf[AnswerT]) -> AnswerT | NeedsValues:
        journal.spoil()  # it is not kept
        return self._answered(child, job).answer

    def _answered(self, child: Child, job: JobOf[AnswerT]) -> Answered[AnswerT]:
        with self._processors:  # more runs at once would only wait, against their time limits
            answered = child.ask(job)
        if answered.warning is not None:
            self.warnings.append(answered.warning)
        return answered

    def _run(self, job: RunJob, seed: int = 0) -> RunAnswer:
        return self._values.run(self._run_once, job, seed)

    def _run_once(self, job: RunJob) -> RunAnswer | NeedsValues:
        kept = self._kept_answer(job)
        if kept is not None:
            return kept
        self._load()
        if self.single_run is None and self._has_its_backend(job.config):
            return self._ask_and_keep(job)
        return self._run_alone(job)

    def _kept_answer(self, job: JobOf[AnswerT]) -> AnswerT | NeedsValues | None:
        found = None if self._kept is None else self._kept.answer(cast("RunJob | CountJob", job))
        assert found is None or isinstance(found, (job.answer, NeedsValues)), "kept by its job"
        return cast("AnswerT | NeedsValues | None", found)

    def _ask_and_keep(self, job: JobOf[AnswerT]) -> AnswerT | NeedsValues:
        """Asks the first child, and keeps its answer."""
        answered = self._answered(self._child, job)
        if answered.warning is None and self._kept is not None:
            self._kept.keep(
                cast("RunJob | CountJob", job),
                cast("KeptAnswer", answered.answer),
                answered.reads,
            )
            if self._kept.warning is not None and self._kept.warning not in self.warnings:
                self.warnings.append(self._kept.warning)
        else:
            journal.spoil()
        return answered.answer

    def _counted(self, job: CountJob, *, beside: bool) -> ModelCounts:
        """Counts in the first child if possible.

        `beside`: the first child may be running, or be kept for its only run.
        """

        def once(job: CountJob) -> ModelCounts | NeedsValues:
            kept = self._kept_answer(job)
            if kept is not None:
                return kept
            self._load()
            if self.single_run is None and self._has_its_backend(job.config):
                return self._ask_and_keep(job)
            is_first = not beside and job.values.kind is ValuesPass.UNANSWERED
            if is_first:
                return self._ask(self._child, job)
            with self._another(self._load_request(job)) as child:
                return self._ask(child, job)

        return self._values.count(once, job)

    def _run_alone(self, job: RunJob) -> RunAnswer | NeedsValues:
        with self._one_at_a_time:
            child, self._unused = self._unused, None
            request = self._load_request(job)
            if child is None or request != self._request:
                # While imported, the user's code saw another card or setting; or it has run.
                if child is not None:
                    self._end(child)
                child = self._start(request)
                child.wait_loaded()
            try:
                return self._ask(child, job)
            finally:
                self._end(child)

    def _load_request(self, job: RunJob | CountJob) -> LoadRequest:
        return replace(
            self._request, profile=job.profile, alloc_conf=job.config.alloc_conf, values=job.values
        )

    def _has_its_backend(self, config: StepConfig) -> bool:
        """Returns whether the first child has the allocator backend that `config` needs.

        torch chooses the backend while it is imported.
        """
        return self._backend(config.alloc_conf) == self._backend(self._request.alloc_conf)

    def _backend(self, alloc_conf: str | None) -> str:
        """Returns the allocator backend that a setting names; None: the environment's setting."""
        if alloc_conf is None:
            given = child_environment(self._environment)
            alloc_conf = next((given[name] for name in ALLOC_CONF_VARIABLES if name in given), "")
        named = re.search(r"\bbackend\s*:\s*(\w+)", alloc_conf)
        return named[1] if named else "native"


def _load_request(
    target: Target, device: EmulatedDevice | Engine, profile: str, alloc_conf: str | None
) -> LoadRequest:
    if isinstance(device, Engine):
        return LoadRequest(target=target, engine=device, alloc_conf=alloc_conf)
    return LoadRequest(
        target=target,
        libraries=tuple(str(path) for path in device.libraries),
        driver_folder=str(device.driver_folder),
        profile=profile,
        alloc_conf=alloc_conf,
    )
