"""Runs a step with changed options, one run and one count for each set of changes.

In: a session with the loaded target, changes of the caller's options. Out: Tried. Convention: peaks
are those of a run without a limit, and a replay on the card decides whether it fits; a setting of
the allocator is replayed, without a run. Changes of the target itself need a child of their own. A
change may spread the step over several GPUs: the figures are those of the rank with most memory.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from planner.config.parallel import ParallelConfig
from planner.config.step import StepConfig
from planner.errors import PlannerError, UsageError
from planner.estimation.advice.forecast import forecast_largest
from planner.estimation.alloc_conf import AllocatorPlan, allocator_plan
from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory, model_error
from planner.estimation.device_timing import card_step
from planner.estimation.job import JobConfig
from planner.estimation.offload import offloaded_bytes
from planner.estimation.probes import SearchAxis, sample_of
from planner.estimation.ranks import with_worst_rank
from planner.estimation.request import EstimateRequest, request_of_a_job
from planner.estimation.session import EstimationSession, estimation_session
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.replay import replay, requests_of
from planner.memory.budget import MemoryBudget
from planner.results.advice import TrialState
from planner.results.ranks import RanksResult
from planner.timing.bottleneck import StepParts
from planner.units import format_bytes
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import RequestLog, RunOutcome, StepTrace

if TYPE_CHECKING:
    from planner.estimation.network import Network

RUN, REPLAY = "emulated run", "replay"
_BLOCK_DEPTH = 4  # blocks are at most so deep, like model.layers.0
Changes = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A step with changes, and its figures; without figures `reason` says why.

    `peak_reserved_bytes` and `total_bytes` are those without a limit. `is_timed`: the step was
    counted too, if it can be. `sample_s` is the time of a step over its samples on all GPUs, None
    where it was not counted. `ranks` are those of a job on several GPUs. `offload_s` is the part of
    a step that waits for the host, `offloaded_bytes` are in its RAM.
    """

    changes: Changes
    state: TrialState
    reason: str = ""
    method: str | None = None
    config: StepConfig | None = None
    trace: StepTrace | None = None
    log: RequestLog | None = None
    counted: ModelCounts | None = None
    budget: MemoryBudget | None = None
    peak_reserved_bytes: int | None = None
    total_bytes: int | None = None
    fits: bool | None = None
    step_s: float | None = None
    offload_s: float | None = None
    offloaded_bytes: int | None = None
    ranks: RanksResult | None = None
    is_timed: bool = False

    @property
    def sample_s(self) -> float | None:
        """Returns the time of a step over its samples; None: not known."""
        if self.step_s is None or self.config is None:
            return None
        return self.step_s / self.config.samples_of_a_step


class Trials:
    """Tries changes of one step on one card. Several threads may use it. A context manager."""

    def __init__(
        self,
        target: Any,
        options: Mapping[str, Any],
        asked: EstimateRequest,
        session: EstimationSession,
    ) -> None:
        """`options` are those of the caller, of which `asked` was made."""
        self.options = options
        self._target, self._asked, self._session = target, asked, session
        self._job: JobConfig = session.measured_request()
        self._sessions: dict[str, EstimationSession] = {}
        self._opened = ExitStack()
        self._opening = threading.Lock()
        self._known: dict[str, Tried] = {}
        self._first_network: Network | None = None

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def budget(self) -> MemoryBudget:
        """Returns the card."""
        return self._session.known.budgets[0]

    @property
    def request(self) -> JobConfig:
        """Returns the data, the host and the money of the job."""
        return self._job

    def request_of(self, changes: Changes) -> EstimateRequest:
        """Returns the request with changes.

        Raises:
            UsageError: the changes contradict each other or other options.
        """
        return request_of_a_job(self._target, **{**self.options, **changes})

    def is_of_another_child(self, changes: Changes) -> bool:
        """Returns whether changes are of the target, which must then be loaded anew."""
        try:
            asked = self.request_of(changes)
        except PlannerError:
            return False
        return (asked.target, asked.given) != (self._asked.target, self._asked.given)

    def run(self, changes: Changes) -> Tried:
        """Tries changes; the same changes are tried once."""
        key = _key_of(changes)
        if key not in self._known:
            found = self._known[key] = self._tried(changes)
            if found.config is not None and found.config.offload:
                return self.timed(changes)  # the counts have what the host must keep
        return self._known[key]

    def timed(self, changes: Changes) -> Tried:
        """Tries changes, and counts the step with them if that was not done before."""
        found = self.run(changes)
        config, budget = found.config, found.budget
        if found.is_timed or config is None or budget is None:
            return found
        without = _without_allocator(changes)
        if len(without) < len(changes):
            free = self.timed(without)  # the allocator has no part in the operators
            if free.state is not TrialState.TRIED:
                return replace(free, changes=changes)
            found = replace(
                found,
                counted=free.counted,
                step_s=free.step_s,
                offload_s=free.offload_s,
                offloaded_bytes=free.offloaded_bytes,
                is_timed=True,
            )
        else:
            found = self._with_counts(found, self._counted(found, config), config, budget)
        self._known[_key_of(changes)] = found
        return found

    def _with_counts(
        self, found: Tried, counted: ModelCounts | None, config: StepConfig, budget: MemoryBudget
    ) -> Tried:
        """Returns it with its time; beyond the RAM of the host it cannot apply."""
        if counted is None:
            return replace(found, is_timed=True)
        too_much = self._beyond_ram(counted)
        if too_much is not None:
            return Tried(changes=found.changes, state=TrialState.CANNOT_APPLY, reason=too_much)
        asked = self.request_of(found.changes)
        parts = self._parts(config, counted, budget, self._network(asked))
        return replace(
            found,
            counted=counted,
            step_s=None if parts is None else parts.step_s,
            offload_s=None if parts is None else parts.offload_s,
            offloaded_bytes=offloaded_bytes(counted),
            is_timed=True,
        )

    def _counted(self, found: Tried, config: StepConfig) -> ModelCounts | None:
        """Counts a step, that without changes by module; None: it cannot be counted."""
        session = self.session_of(self.request_of(found.changes))
        profile, runner = session.child.cards.unlimited(self.budget), session.child.runner
        runs = session.setup.runner
        with suppress(PlannerError):  # without counts there is no time, and the memory is known
            if found.changes or runs is not runner:
                return runs.count(profile, config)
            return runner.inspect(profile, config, _BLOCK_DEPTH)
        return None

    def session_of(self, asked: EstimateRequest) -> EstimationSession:
        """Returns the session whose child has loaded the target of a request."""
        if (asked.target, asked.given) == (self._asked.target, self._asked.given):
            return self._session
        key = repr((asked.target, asked.given))
        with self._opening:
            if key not in self._sessions:
                entered = estimation_session(asked, [self.budget.requested])
                self._sessions[key] = self._opened.enter_context(entered)
            return self._sessions[key]

    def setup_of(self, asked: EstimateRequest) -> RunContext:
        """Returns what runs a request: its step, its allocator, its links between GPUs.

        Raises:
            PlannerError: its target cannot be loaded; the links of its GPUs are not known.
        """
        session = self.session_of(asked)
        plan = allocator_plan(asked.alloc_confs, session.child.versions.torch)
        network = self._network(asked)
        return replace(session.setup, config=asked.config, plan=plan, network=network)

    def _network(self, asked: EstimateRequest) -> Network | None:
        parallel = asked.config.parallel
        return None if parallel is None else self.network_of(parallel)

    def network_of(self, parallel: ParallelConfig) -> Network:
        """Returns what joins the GPUs of a job.

        Raises:
            PlannerError: the links of such cards are not known.
        """
        from planner.estimation.network import Network, network_of

        if self._first_network is None:
            found = network_of(parallel, self._job.machine, self._asked.database)
            assert found is not None, "the job has several GPUs"
            self._first_network = found
        known = self._first_network
        network = Network(parallel=parallel, links=known.links, machine=known.machine)
        network.topology(self.budget.spec)  # its links are known
        return network

    def _tried(self, changes: Changes) -> Tried:
        without = _without_allocator(changes)
        if len(without) < len(changes):
            free = self.run(without)
            if free.log is not None:
                return self._replayed(changes, free)
        try:
            asked = self.request_of(changes)
            return self._ran(changes, self.setup_of(asked))
        except PlannerError as error:
            reason = str(error).partition("\n")[0]
            cannot = isinstance(error, UsageError) or "not installed" in reason
            state = TrialState.CANNOT_APPLY if cannot else TrialState.FAILED
            return Tried(changes=changes, state=state, reason=reason)

    def _ran(self, changes: Changes, setup: RunContext) -> Tried:
        chosen = with_worst_rank(setup, self.budget)
        setup, config = chosen.setup, chosen.setup.config
        trace, log = setup.runner.requests(setup.cards.unlimited(self.budget), config)
        if trace.outcome is RunOutcome.MODEL_ERROR:
            raise model_error(trace)
        budget = setup.with_outside(self.budget, trace)
        found = Tried(
            changes=changes,
            state=TrialState.TRIED,
            method=RUN,
            config=config,
            trace=trace,
            log=log,
            budget=budget,
            ranks=chosen.ranks,
        )
        if trace.outcome is RunOutcome.OUT_OF_MEMORY:  # beyond all that can be measured
            return replace(found, fits=False, log=None)
        peak_bytes = trace.peak_reserved_bytes
        return replace(
            found,
            peak_reserved_bytes=peak_bytes,
            total_bytes=budget.device_total_bytes(peak_bytes),
            fits=peak_bytes <= budget.capacity_bytes or self._fits_by_replay(found, budget),
        )

    def _fits_by_replay(self, found: Tried, budget: MemoryBudget) -> bool:
        """Returns whether it fits where the allocator must give cached segments back."""
        assert found.trace is not None
        settings = self._session.setup.plan.in_force
        if found.trace.peak_allocated_bytes > budget.capacity_bytes:
            return False
        if found.log is None or settings is None:
            return False
        full = replay(
            requests_of(found.log),
            settings,
            capacity_bytes=budget.capacity_bytes,
            total_memory_bytes=budget.usable_memory_bytes,
        )
        return full.out_of_memory is None

    def _replayed(self, changes: Changes, free: Tried) -> Tried:
        """Replays a run under another setting of the allocator."""
        text = str(changes["alloc_conf"])
        try:
            settings = self.plan_of(text).in_force
            config = self.request_of(changes).config
        except PlannerError as error:
            return Tried(changes=changes, state=TrialState.CANNOT_APPLY, reason=str(error))
        if settings is None:
            reason = "this setting cannot be replayed"
            return Tried(changes=changes, state=TrialState.CANNOT_APPLY, reason=reason)
        assert free.budget is not None
        assert free.log is not None
        requests, budget = requests_of(free.log), free.budget
        peaks = [
            replay(
                requests,
                settings,
                capacity_bytes=capacity_bytes,
                total_memory_bytes=budget.usable_memory_bytes,
            )
            for capacity_bytes in (WITHOUT_LIMIT_BYTES, budget.capacity_bytes)
        ]
        return replace(
            free,
            changes=changes,
            method=REPLAY,
            config=config,
            peak_reserved_bytes=peaks[0].peak_reserved_bytes,
            total_bytes=budget.device_total_bytes(peaks[0].peak_reserved_bytes),
            fits=peaks[1].out_of_memory is None,
        )

    def plan_of(self, text: str | None) -> AllocatorPlan:
        """Returns the allocator under a setting; None: that of the step as requested."""
        if text is None:
            return self._session.setup.plan
        return allocator_plan((text,), self._session.child.versions.torch)

    def step_s(
        self, config: StepConfig, counted: ModelCounts, budget: MemoryBudget
    ) -> float | None:
        """Returns the time of a counted step on a card; None: nothing of it runs on the card."""
        parts = self._parts(config, counted, budget)
        return None if parts is None else parts.step_s

    def _parts(
        self,
        config: StepConfig,
        counted: ModelCounts,
        budget: MemoryBudget,
        network: Network | None = None,
    ) -> StepParts | None:
        if not counted.operators:
            return None
        answer = DeviceMemory(budget=budget, trace=_NO_TRACE, fits=True)
        return card_step(answer, config, counted, self._job, network).parts()

    def _beyond_ram(self, counted: ModelCounts) -> str | None:
        """Returns why the named host cannot keep what is offloaded; None: it can, or has no RAM."""
        needed_bytes, ram_bytes = offloaded_bytes(counted), self._job.ram_bytes
        if ram_bytes is None or needed_bytes <= ram_bytes:
            return None
        return (
            f"it keeps {format_bytes(needed_bytes)} on the host, whose RAM is "
            f"{format_bytes(ram_bytes)}"
        )

    def time_factor(self, found: Tried) -> float | None:
        """Returns the time for a sample over that of the step as requested; None: not known."""
        base_s, found_s = self.timed({}).sample_s, found.sample_s
        return None if base_s is None or found_s is None else found_s / base_s

    def largest(self, found: Tried, axis: SearchAxis = SearchAxis.BATCH) -> int | None:
        """Returns the largest value that fits, by replay of that run and of another one."""
        if found.log is None or found.config is None or found.budget is None:
            return None
        if found.trace is None:
            return None
        plan = self.plan_of(found.config.alloc_conf)
        config = replace(found.config, alloc_conf=self._asked.config.alloc_conf)
        setup = replace(self.setup_of(self.request_of(found.changes)), config=config, plan=plan)
        size = config.batch_size if axis is SearchAxis.BATCH else config.sequence_length
        if size is None:
            return None
        value, rest = divmod(size, axis.unit)
        sample = None if rest else sample_of(value, found.log)
        return forecast_largest(setup, found.budget, axis, found.trace, sample)


def _key_of(changes: Changes) -> str:
    return repr(sorted(changes.items(), key=lambda one: one[0]))


def _without_allocator(changes: Changes) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name != "alloc_conf"}


_NO_TRACE = StepTrace(
    outcome=RunOutcome.COMPLETED,
    batch_size=1,
    peak_allocated_bytes=0,
    peak_active_bytes=0,
    peak_reserved_bytes=0,
)
