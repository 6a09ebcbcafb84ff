"""Runs a step that generates tokens by its first and its last tokens, as if all had been run.

In: a StepRunner, the number of new tokens, the allocator's settings. Out: StepTraces and recordings
of the whole generation. Convention: on a card with its limit the whole generation is run, which
confirms what the parts have told, as long as it has few tokens; where the rounds follow no rule, it
is run everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from planner.config.generation import TokenWindow
from planner.config.step import StepConfig
from planner.emulator.profile import UNLIMITED_BYTES, profile_values, without_limit
from planner.estimation.context import side_by_side
from planner.estimation.generation.counts import generated_counts
from planner.estimation.generation.target import MOST_RUN
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.replay import replay, requests_of
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.block_size import rounded
from planner.memory.generation.unrolled import (
    RECORDED,
    RecordedTokens,
    Unlike,
    Unrolled,
    unrolled,
)
from planner.process.step_runner import StepRunner
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    RequestLog,
    RunOutcome,
    StepTrace,
)

_STEPS = 2  # the second one finds the memory that the first has cached, as all later ones
_MOST_ROUNDS = 160  # whose requests are made

_RecordingT = TypeVar("_RecordingT", RequestLog, AllocationTrace)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts(Generic[_RecordingT]):
    """Both runs, with the trace of the first one, and the requests of the whole generation."""

    trace: StepTrace
    first: _RecordingT
    last: _RecordingT
    made: Unrolled


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRunner:
    """Runs a step that writes `tokens` tokens; see StepRunner.

    `settings` are the allocator's, None where it cannot be replayed: then all is run whole.
    """

    inner: StepRunner
    tokens: int
    settings: AllocatorSettings | None
    _rules: dict[StepConfig, str] = field(default_factory=dict)  # why a step follows no rule

    def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
        """Runs the generation: whole on a card with its limit, if it has few tokens."""
        config = _as_generated(config)
        if self._is_short or (_capacity_bytes(profile) is not None and self._is_run_whole):
            return self.inner.run(profile, config, seed)
        return self.requests(profile, config)[0]

    def requests(self, profile: str, config: StepConfig) -> tuple[StepTrace, RequestLog | None]:
        """Tells each request of the generation; None: they could not be recorded."""
        config = _as_generated(config)
        if not self._is_told(config):
            return self.inner.requests(profile, config)
        parts = self._parts(self.inner.requests, profile, config)
        if isinstance(parts, StepTrace):
            return parts, None
        if parts is None:
            return self.inner.requests(profile, config)
        return self._ended(profile, parts.trace, parts.made), _log(parts.made, parts.first)

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        """Tells the purpose of each request; None: they could not be recorded."""
        config = _as_generated(config)
        if not self._is_told(config):
            return self.inner.record(profile, config)
        parts = self._parts(self.inner.record, profile, config)
        if isinstance(parts, StepTrace):
            return parts, None
        if parts is None:
            return self.inner.record(profile, config)
        return self._ended(profile, parts.trace, parts.made), _events(parts)

    def count(self, profile: str, config: StepConfig) -> ModelCounts:
        """Counts the prompt, and each token as the mean of the first and the last ones."""
        if self._is_short:
            return self.inner.count(profile, config)
        windows = (
            TokenWindow(skipped=0, tokens=1),
            TokenWindow(skipped=0, tokens=2),
            TokenWindow(skipped=self.tokens - 2, tokens=1),
            TokenWindow(skipped=self.tokens - 2, tokens=2),
        )
        prompt, first, before, last = (
            self.inner.count(profile, replace(config, window=window)) for window in windows
        )
        return generated_counts(
            prompt, first, before, last, tokens=self.tokens, batch_size=config.batch_size
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Returns why steps that follow no rule were run whole."""
        return tuple(dict.fromkeys(self._rules.values()))

    @property
    def _is_short(self) -> bool:
        return self.tokens <= 2 * RECORDED

    @property
    def _is_run_whole(self) -> bool:
        return self.tokens <= MOST_RUN

    def _is_told(self, config: StepConfig) -> bool:
        return not self._is_short and self.settings is not None and config not in self._rules

    def _parts(
        self,
        recorded: Callable[[str, StepConfig], tuple[StepTrace, _RecordingT | None]],
        profile: str,
        config: StepConfig,
    ) -> _Parts[_RecordingT] | StepTrace | None:
        """Runs the first and the last tokens without a limit, and tells all of them.

        Returns the trace of a run that failed; None where the step follows no rule, which is noted:
        it is run whole from now on.
        """
        free = without_limit(profile)
        windows = [
            TokenWindow(skipped=skipped, tokens=RECORDED) for skipped in (0, self.tokens - RECORDED)
        ]

        def run(window: TokenWindow) -> tuple[StepTrace, _RecordingT | None]:
            return recorded(free, replace(config, window=window))

        early, late = side_by_side(run, windows)
        for ended in (early[0], late[0]):
            if ended.outcome is not RunOutcome.COMPLETED:
                return ended
        first, last = early[1], late[1]
        if first is None or last is None:
            self._rules[config] = "the requests could not be recorded"
            return None
        made = unrolled(_tokens_of(first), _tokens_of(last), self.tokens, _MOST_ROUNDS)
        if isinstance(made, Unlike):
            self._rules[config] = made.reason
            return None
        return _Parts(trace=early[0], first=first, last=last, made=made)

    def _ended(self, profile: str, trace: StepTrace, made: Unrolled) -> StepTrace:
        """Returns the trace with the peaks of the whole generation on the card of `profile`."""
        assert self.settings is not None, "the generation is told"
        capacity_bytes = _capacity_bytes(profile)
        peaks = replay(
            made.requests,
            self.settings,
            capacity_bytes=WITHOUT_LIMIT_BYTES if capacity_bytes is None else capacity_bytes,
            total_memory_bytes=int(profile_values(profile)["total_memory_bytes"]),
        )
        has_room = peaks.out_of_memory is None
        words = _words(made)
        return replace(
            trace,
            outcome=RunOutcome.COMPLETED if has_room else RunOutcome.OUT_OF_MEMORY,
            peak_allocated_bytes=peaks.peak_allocated_bytes,
            peak_active_bytes=peaks.peak_active_bytes,
            peak_reserved_bytes=peaks.peak_reserved_bytes,
            step_peak_allocated_bytes=(),
            alloc_retries=peaks.alloc_retries,
            rest_bytes=peaks.allocated_bytes,
            assumptions=(*trace.assumptions, words),
            notes=trace.notes if made.rounds < made.tokens else (*trace.notes, words),
        )


def _as_generated(config: StepConfig) -> StepConfig:
    return replace(config, steps=min(config.steps, _STEPS))


def _capacity_bytes(profile: str) -> int | None:
    """Returns the limit of the card of a profile; None: it has none."""
    capacity_bytes = int(profile_values(profile)["capacity_bytes"])
    return None if capacity_bytes >= UNLIMITED_BYTES else capacity_bytes


def _tokens_of(recorded: RequestLog | AllocationTrace) -> RecordedTokens:
    of = recorded if isinstance(recorded, RequestLog) else recorded.events
    return RecordedTokens(requests=requests_of(of), rounds=recorded.rounds)


def _words(made: Unrolled) -> str:
    told = (
        f"{made.tokens} tokens are told from runs of the first {RECORDED} and the last {RECORDED}: "
        "each tensor between them has a size on the line through both"
    )
    if made.rounds == made.tokens:
        return told
    return (
        f"{told}; peak reserved is that of {made.rounds} tokens, evenly apart, with caches as long "
        "as those of all"
    )


def _log(made: Unrolled, first: RequestLog) -> RequestLog:
    sizes: dict[int, int] = {}
    columns: list[tuple[EventKind, int, int, int]] = []
    for kind, block, size_bytes, stream in made.requests:
        if kind is EventKind.ALLOC:
            sizes[block] = size_bytes
        columns.append((kind, block, sizes.get(block, 0), stream))
    kinds, blocks, sizes_bytes, streams = zip(*columns, strict=True)
    return RequestLog(
        kinds=kinds,
        blocks=blocks,
        sizes_bytes=sizes_bytes,
        streams=streams,
        workspace_sizes_bytes=first.workspace_sizes_bytes,
    )


def _events(parts: _Parts[AllocationTrace]) -> AllocationTrace:
    first, last = parts.first, parts.last
    origins: dict[Origin, int] = {origin: place for place, origin in enumerate(first.origins)}
    places = [origins.setdefault(origin, len(origins)) for origin in last.origins]
    step = 0
    events: list[AllocationEvent] = []
    made_of: dict[int, AllocationEvent] = {}
    for row in parts.made.rows:
        kind, block, size_bytes, _ = row.request
        like = (last if row.is_of_last else first).events[row.place]
        step = step if row.is_of_last else like.step
        begun = made_of.get(block)
        if kind is EventKind.ALLOC or begun is None:
            is_same = size_bytes == like.size_bytes
            begun = made_of[block] = replace(
                like,
                block=block,
                size_bytes=size_bytes,
                block_bytes=like.block_bytes if is_same else rounded(size_bytes),
                origin=places[like.origin] if row.is_of_last else like.origin,
            )
        events.append(replace(begun, kind=kind, step=step, phase=like.phase))
    return AllocationTrace(events=tuple(events), origins=tuple(origins))
