"""Answers for cards from kept runs, where no child has to be started for any of them.

In: the step, the budgets, the kept runs. Out: a DeviceMemory for each card and the counts, or None
where a run is needed. Convention: a card whose own runs are kept has the answer that they gave. Of
another one, with the same compute capability, the requests of a kept run are replayed on its
memory, under its setting of the allocator: that is not confirmed by a run, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.config.step import StepConfig
from planner.emulator.profile import UNLIMITED_BYTES, profile_values
from planner.estimation.alloc_conf import what_ifs
from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory, empties_cache
from planner.estimation.grouped_devices import answers_by_device, answers_by_group
from planner.estimation.largest_search import RecordedStep, recorded_run
from planner.estimation.probes import SearchAxis, sample_of
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import replay
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.budget import MemoryBudget
from planner.memory.largest import LargestValue, ProbeFns, SearchStart, forecasts
from planner.memory.peak import breakdown
from planner.memory.probe import Probe
from planner.memory.scaling import FIRST_ALIKE, Sample
from planner.process.kept import journal
from planner.process.kept.answers import KeptAxis
from planner.process.kept.runs import KeptRuns, NotKeptError
from planner.results.values import ValuesResult
from planner.wire.jobs import RunJob
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import Recording, TensorCategory

_AXES = {SearchAxis.BATCH: KeptAxis.BATCH, SearchAxis.SEQUENCE: KeptAxis.SEQUENCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEstimate:
    """The answers for all cards, in order, and the counts of the step."""

    answers: list[DeviceMemory]
    counted: ModelCounts


def answers_from_kept(
    setup: RunContext,
    budgets: Sequence[MemoryBudget],
    kept: KeptRuns,
    *,
    search: bool,
    is_survey: bool,
) -> KeptEstimate | None:
    """Returns the answers of kept runs; None where one of them is not kept.

    Raises:
        PlannerError: as the runs themselves would.
    """
    silent = replace(setup.over(kept), progress=lambda _: None)
    try:
        if is_survey:
            answers = answers_by_group(silent, budgets, search=search)
        else:
            answers = [_answer(silent, kept, budget, search) for budget in budgets]
        return KeptEstimate(answers=answers, counted=_counted(silent, kept, budgets[0]))
    except NotKeptError:
        return None


def _counted(setup: RunContext, kept: KeptRuns, budget: MemoryBudget) -> ModelCounts:
    """Returns the counts of the card, else of another one that runs the same kernels.

    Raises:
        NotKeptError: none are kept.
    """
    try:
        return kept.count(setup.cards.unlimited(budget), setup.config)
    except NotKeptError:
        journal.spoil()
        job = _runs_like(setup, kept, budget)[0]
        return kept.count(job.profile, job.config)


def _answer(setup: RunContext, kept: KeptRuns, budget: MemoryBudget, search: bool) -> DeviceMemory:
    """Returns the answer of the card's own runs, else that of a replay."""
    try:
        (own,) = answers_by_device(setup, [budget], search=search)
        return own
    except NotKeptError:
        journal.spoil()  # once the card has runs of its own, they count
        return ReplayedDevice(setup=setup, kept=kept, budget=budget).answer(search)


def _runs_like(setup: RunContext, kept: KeptRuns, budget: MemoryBudget) -> list[RunJob]:
    """Returns the kept runs of the requested step on cards like this, those of itself first.

    Raises:
        NotKeptError: there are none.
    """
    profile, limited = setup.cards.unlimited(budget), setup.cards.limited(budget)
    own = RunJob(profile=profile, config=setup.config, recording=Recording.EVENTS)
    found = kept.answers.finished(own)
    if not found or any(one.job == own and one.limited == limited for one in found):
        raise NotKeptError  # its own search has met what is not kept: it meets it again
    return sorted(
        (one.job for one in found),
        key=lambda job: (
            _shown_name(job.profile) != _shown_name(profile),
            job.config.alloc_conf != own.config.alloc_conf,
            job.profile,
            job.config.alloc_conf or "",
        ),
    )


def _shown_name(profile: str) -> str:
    return profile_values(profile).get("name", "").removesuffix(" (emulated)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDevice:
    """A card that kept runs of another one are replayed on."""

    setup: RunContext
    kept: KeptRuns
    budget: MemoryBudget

    def answer(self, search: bool) -> DeviceMemory:
        """Returns the answer; the largest values are not confirmed.

        Raises:
            NotKeptError: only a run can give it.
        """
        if self.setup.size_axes:
            raise NotKeptError  # kept runs of other sizes are not looked up
        job = _runs_like(self.setup, self.kept, self.budget)[0]
        free = recorded_run(self.kept, job.profile, job.config)
        outside, values = (
            free.trace.outside,
            ValuesResult(
                reads=free.trace.value_reads,
                data_dependent=job.config.data_dependent,
                parted=free.trace.parted_reads,
            ),
        )
        if free.allocations is None or outside.managed_bytes or values.are_decided:
            raise NotKeptError
        if free.trace.attention_backends and not self._is_same_chip(job):
            raise NotKeptError  # fused attention takes buffers for each multiprocessor
        budget = self.setup.with_outside(self.budget, free.trace)
        return replace(self, budget=budget)._answer(job, free, values, search)

    def _answer(
        self, job: RunJob, free: RecordedStep, values: ValuesResult, search: bool
    ) -> DeviceMemory:
        settings = self._settings(job, free)
        fits, held = self._on_card(free, settings, self._said(job))
        axes = [SearchAxis.BATCH] if search else []
        if search and self.setup.config.sequence_length is not None:
            axes.append(SearchAxis.SEQUENCE)
        largest = {axis: self._largest(job, axis) for axis in axes}
        batch = largest.get(SearchAxis.BATCH)
        return DeviceMemory(
            budget=self.budget,
            trace=held.trace,
            fits=fits,
            batch=batch,
            sequence=largest.get(SearchAxis.SEQUENCE),
            breakdown=held.breakdown,
            allocations=held.allocations,
            requests=free.requests,
            what_ifs=what_ifs(
                self.setup.plan.others,
                free.requests,
                None if batch is None else batch.scaled,
                capacity_bytes=self.budget.capacity_bytes,
                total_memory_bytes=self.budget.usable_memory_bytes,
            ),
            empties_cache=empties_cache(free.allocations),
            values=values,
        )

    def _is_same_chip(self, job: RunJob) -> bool:
        profile = self.setup.cards.unlimited(self.budget)
        return _multiprocessors(job.profile) == _multiprocessors(profile)

    def _settings(self, job: RunJob, free: RecordedStep) -> AllocatorSettings:
        """Returns the setting in force, once a replay has given the peaks of the kept run."""
        wanted = self.setup.plan.in_force
        if wanted is None:
            raise NotKeptError
        used = wanted
        if job.config.alloc_conf != self.setup.config.alloc_conf:
            used = parse_alloc_conf(job.config.alloc_conf or "", self.setup.cards.torch.version)
        again = replay(
            free.requests,
            used,
            capacity_bytes=WITHOUT_LIMIT_BYTES,
            total_memory_bytes=_total_memory(job.profile),
        )
        peaks = free.trace.peak_allocated_bytes, free.trace.peak_reserved_bytes
        if (again.peak_allocated_bytes, again.peak_reserved_bytes) != peaks:
            raise NotKeptError
        return wanted

    def _on_card(
        self, free: RecordedStep, settings: AllocatorSettings, said: str
    ) -> tuple[bool, RecordedStep]:
        """Returns whether the step fits, and the run with its peaks on this card."""
        budget = self.budget
        whole, full = (
            replay(
                free.requests,
                settings,
                capacity_bytes=capacity_bytes,
                total_memory_bytes=budget.usable_memory_bytes,
            )
            for capacity_bytes in (WITHOUT_LIMIT_BYTES, budget.capacity_bytes)
        )
        fits = full.out_of_memory is None
        peaks = full if fits else whole
        trace = replace(
            free.trace,
            peak_allocated_bytes=peaks.peak_allocated_bytes,
            peak_active_bytes=peaks.peak_active_bytes,
            peak_reserved_bytes=peaks.peak_reserved_bytes,
            alloc_retries=peaks.alloc_retries,
            assumptions=(*free.trace.assumptions, said),
        )
        assert free.allocations is not None, "checked by answer"
        is_same = peaks.peak_allocated_bytes == free.trace.peak_allocated_bytes
        found = breakdown(
            free.allocations,
            peak_allocated_bytes=peaks.peak_allocated_bytes,
            peak_reserved_bytes=peaks.peak_reserved_bytes,
        )
        return fits, replace(free, trace=trace, breakdown=found if is_same else None)

    def _largest(self, job: RunJob, axis: SearchAxis) -> LargestValue:
        samples = self._samples(job, axis)
        asked = _value_of(job.config, axis)
        if axis is SearchAxis.SEQUENCE:
            values: tuple[int, ...] = (asked, 2 * asked, 3 * asked)
        else:
            known = sorted(value for value in samples if value >= FIRST_ALIKE)
            if len(known) < 2:
                raise NotKeptError
            values = (known[0], known[-1])
        found = forecasts(
            _samples_alone(samples),
            [self.setup.replayed_card(self.budget)],
            SearchStart(values=values, sample=None, known=(), start=asked),
        )
        if found is None or not found[0].capacity.largest:
            raise NotKeptError
        return found[0]

    def _samples(self, job: RunJob, axis: SearchAxis) -> dict[int, Sample]:
        """Returns the kept runs on the same card along an axis, by their value."""
        found: dict[int, Sample] = {}
        for other in self.kept.answers.recorded(job.profile, job.config, _AXES[axis]):
            is_whole = not axis.size_of(other.config) % axis.unit
            if other.profile != job.profile or not is_whole:
                continue
            if other.config.alloc_conf != job.config.alloc_conf:
                continue
            value = _value_of(other.config, axis)
            if other.recording is Recording.REQUESTS:
                _, log = self.kept.requests(other.profile, other.config)
                if log is not None:
                    found[value] = sample_of(value, log)
            elif value not in found:
                step = recorded_run(self.kept, other.profile, other.config)
                found[value] = _sample_of_events(value, step)
        return found

    def _said(self, job: RunJob) -> str:
        name = _shown_name(job.profile)
        if name == _shown_name(self.setup.cards.unlimited(self.budget)):
            source = "this card with another limit or setting"
            doubt = "code that asks for the card's memory saw that of those runs; "
        else:
            major, minor = self.budget.card.compute_capability
            source = f"{name} (compute capability {major}.{minor} too)"
            doubt = (
                "workspaces may differ where a kernel asks for the number of multiprocessors, and "
                "code that asks for the card saw that one; "
            )
        return (
            f"figures come from kept runs of {source}, replayed on its memory and not confirmed by "
            f"runs; {doubt}--no-cache runs it"
        )


def _sample_of_events(value: int, step: RecordedStep) -> Sample:
    events = () if step.allocations is None else step.allocations.events
    return Sample(
        value=value,
        requests=step.requests,
        workspaces=frozenset(
            event.block for event in events if event.category is TensorCategory.WORKSPACE
        ),
    )


def _samples_alone(samples: dict[int, Sample]) -> ProbeFns:
    """Returns functions for a search that has these samples and can run nothing."""

    def no_probes(values: Sequence[int]) -> list[Probe]:
        raise NotKeptError

    def no_probes_and_sample(
        values: Sequence[int], sampled: int
    ) -> tuple[list[Probe], Sample | None]:
        raise NotKeptError

    return ProbeFns(
        samples=lambda values: [samples.get(value) for value in values],
        probes=no_probes,
        probes_and_sample=no_probes_and_sample,
    )


def _value_of(config: StepConfig, axis: SearchAxis) -> int:
    return max(1, axis.size_of(config) // axis.unit)


def _multiprocessors(profile: str) -> str | None:
    return profile_values(profile).get("multiprocessors")


def _total_memory(profile: str) -> int:
    """Returns the memory of the card of a profile."""
    return int(profile_values(profile).get("total_memory_bytes", UNLIMITED_BYTES))
