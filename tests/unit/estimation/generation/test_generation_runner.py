"""A generation told from two runs: its peaks, its events, and what is run whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from planner.config.generation import TokenWindow
from planner.config.step import Mode, StepConfig
from planner.estimation.generation.runner import GenerationRunner
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import replay, requests_of
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.generation.unrolled import RECORDED, RecordedTokens
from planner.memory.peak import breakdown
from planner.units import MIB
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Failure,
    Origin,
    Phase,
    RequestLog,
    RunOutcome,
    StepTrace,
    TensorCategory,
)
from tests.unit.generations_by_hand import LAYERS, cache_bytes, generation

SETTINGS = parse_alloc_conf("", "2.14.1")
CONFIG = StepConfig(batch_size=2, mode=Mode.INFER)
FREE = f"total_memory_bytes={1 << 40}\ncapacity_bytes={1 << 44}\n"


def card(capacity_bytes: int) -> str:
    return f"total_memory_bytes={1 << 40}\ncapacity_bytes={capacity_bytes}\n"


@dataclass(slots=True)
class Played:
    """Runs the loop by hand, and keeps what it was asked for."""

    tokens: int
    jump: int = 0
    fails: bool = False
    asked: list[tuple[str, TokenWindow | None]] = field(default_factory=list)

    def _played(self, config: StepConfig) -> RecordedTokens:
        window = config.window or TokenWindow(skipped=0, tokens=self.tokens)
        return generation(window.tokens, skipped=window.skipped, jump=self.jump)

    def _trace(self, config: StepConfig) -> StepTrace:
        found = replay(self._played(config).requests, SETTINGS, capacity_bytes=1 << 40)
        return StepTrace(
            outcome=RunOutcome.MODEL_ERROR if self.fails else RunOutcome.COMPLETED,
            batch_size=config.batch_size,
            peak_allocated_bytes=found.peak_allocated_bytes,
            peak_active_bytes=found.peak_active_bytes,
            peak_reserved_bytes=found.peak_reserved_bytes,
            failure=Failure(kind="ValueError", message="no") if self.fails else None,
        )

    def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
        self.asked.append(("run", config.window))
        return self._trace(config)

    def requests(self, profile: str, config: StepConfig) -> tuple[StepTrace, RequestLog | None]:
        self.asked.append(("requests", config.window))
        played = self._played(config)
        kinds, blocks, sizes, streams = zip(*played.requests, strict=True)
        log = RequestLog(
            kinds=kinds, blocks=blocks, sizes_bytes=sizes, streams=streams,
            rounds=tuple(map(tuple, played.rounds)),
        )  # fmt: skip
        return self._trace(config), log

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        self.asked.append(("record", config.window))
        played = self._played(config)
        sizes: dict[int, int] = {}
        events = []
        for place, (kind, block, size_bytes, stream) in enumerate(played.requests):
            sizes.setdefault(block, size_bytes)
            is_cache = sizes[block] >= cache_bytes(1) and block
            events.append(
                AllocationEvent(
                    kind=kind, block=block, size_bytes=sizes[block], stream=stream,
                    step=sum(place >= one[0] for one in played.rounds), phase=Phase.FORWARD,
                    category=TensorCategory.CACHE if is_cache else TensorCategory.TEMPORARY,
                    origin=1,
                )
            )  # fmt: skip
        name = "late" if config.window is not None and config.window.skipped else "early"
        trace = AllocationTrace(
            events=tuple(events),
            origins=(Origin(), Origin(module=name)),
            rounds=tuple(map(tuple, played.rounds)),
        )
        return self._trace(config), trace

    def count(self, profile: str, config: StepConfig) -> ModelCounts:
        raise NotImplementedError


def runner(
    inner: Played, tokens: int, settings: AllocatorSettings | None = SETTINGS
) -> GenerationRunner:
    return GenerationRunner(inner=inner, tokens=tokens, settings=settings)


WINDOWS = [
    TokenWindow(skipped=0, tokens=RECORDED),
    TokenWindow(skipped=30 - RECORDED, tokens=RECORDED),
]


def test_two_runs_of_a_few_tokens_give_the_peaks_of_all() -> None:
    inner = Played(tokens=30)
    trace, log = runner(inner, 30).requests(FREE, CONFIG)
    assert sorted(inner.asked, key=str) == [("requests", window) for window in WINDOWS]
    right = Played(tokens=30).run(FREE, CONFIG)
    assert trace.peak_allocated_bytes == right.peak_allocated_bytes
    assert trace.peak_reserved_bytes == right.peak_reserved_bytes
    assert log is not None
    again = replay(requests_of(log), SETTINGS, capacity_bytes=1 << 40)
    assert again.peak_reserved_bytes == right.peak_reserved_bytes
    assert "30 tokens are told from runs of the first 5" in trace.assumptions[-1]


def test_the_breakdown_is_that_of_the_last_token() -> None:
    trace, events = runner(Played(tokens=30), 30).record(FREE, CONFIG)
    assert events is not None
    found = breakdown(events, peak_allocated_bytes=trace.peak_allocated_bytes)
    sums = found.by_category()
    assert sums["cache"] == (LAYERS * cache_bytes(30) + cache_bytes(29))
    assert found.total() == trace.peak_allocated_bytes
    assert {held.origin.module for held in found.held} == {"early", "late"}
    ends = [one for one in events.events if one.kind is EventKind.FREE]
    assert all(one.size_bytes > 0 for one in ends)


def test_tokens_left_out_are_said() -> None:
    trace, _ = runner(Played(tokens=2000), 2000).record(FREE, CONFIG)
    assert "peak reserved is that of 160 tokens, evenly apart" in trace.assumptions[-1]
    assert trace.assumptions[-1] not in trace.notes


def test_a_card_with_its_limit_runs_few_tokens_whole_and_replays_many() -> None:
    inner = Played(tokens=100)
    runner(inner, 100).run(card(1 << 30), CONFIG)
    assert inner.asked == [("run", None)]
    inner = Played(tokens=1000)
    need = runner(inner, 1000).run(FREE, CONFIG).peak_reserved_bytes
    assert runner(inner, 1000).run(card(need), CONFIG).outcome is RunOutcome.COMPLETED
    less = need - 4 * MIB
    assert runner(inner, 1000).run(card(less), CONFIG).outcome is RunOutcome.OUT_OF_MEMORY
    assert ("run", None) not in inner.asked


def test_what_follows_no_rule_is_run_whole_and_says_why() -> None:
    inner = Played(tokens=33, jump=512)
    made = runner(inner, 33)
    trace, _ = made.record(FREE, CONFIG)
    assert inner.asked[-1] == ("record", None)
    assert trace == Played(tokens=33, jump=512).run(FREE, CONFIG)
    assert made.reasons == ("a tensor does not grow by the same size with each token",)
    made.record(FREE, CONFIG)
    assert inner.asked[3:] == [("record", None)]


@pytest.mark.parametrize(("tokens", "settings"), [(8, SETTINGS), (50, None)])
def test_few_tokens_and_an_allocator_that_cannot_be_replayed_are_run_whole(
    tokens: int, settings: AllocatorSettings | None
) -> None:
    inner = Played(tokens=tokens)
    runner(inner, tokens, settings).record(FREE, CONFIG)
    assert inner.asked == [("record", None)]


def test_a_failure_is_that_of_the_run() -> None:
    trace, events = runner(Played(tokens=30, fails=True), 30).record(FREE, CONFIG)
    assert trace.outcome is RunOutcome.MODEL_ERROR
    assert events is None


def test_two_steps_are_enough() -> None:
    assert CONFIG.steps == 3
    seen: list[int] = []

    class Steps(Played):
        def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
            seen.append(config.steps)
            return super().run(profile, config)

    inner = Steps(tokens=8)
    runner(inner, 8).run(FREE, CONFIG)
    runner(inner, 8).run(FREE, replace(CONFIG, steps=1))
    assert seen == [2, 1]
