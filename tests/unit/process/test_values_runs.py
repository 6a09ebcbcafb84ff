"""Which passes a run takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from planner.config.step import StepConfig
from planner.process.values_runs import ValuesRuns
from planner.wire.protocol import RunEnded
from planner.wire.trace import Outcome, Recording, StepTrace
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

CARD = "name=card\ncapacity_bytes=1000\n"
TRACE = StepTrace(
    outcome=Outcome.COMPLETED,
    batch_size=8,
    peak_allocated_bytes=1,
    peak_active_bytes=1,
    peak_reserved_bytes=1,
)


@dataclass(slots=True)
class Child:
    """Notes what it is asked for; with `reads`, a run without values ends by needing them."""

    reads: bool
    fails: bool = False
    asked: list[tuple[ValuesPass, str, int]] = field(default_factory=list)

    def run(
        self, profile: str, config: StepConfig, recording: Recording, values: ValuesRequest
    ) -> RunEnded:
        self.asked.append((values.kind, profile, values.seed))
        if values.kind is ValuesPass.UNANSWERED and self.reads:
            return RunEnded(number=1, needs_values=True)
        log = ReadLog(seed=values.seed) if values.kind is ValuesPass.VALUES else None
        outcome = Outcome.MODEL_ERROR if self.fails else Outcome.COMPLETED
        return RunEnded(number=1, trace=replace(TRACE, outcome=outcome), log=log)

    @property
    def kinds(self) -> list[ValuesPass]:
        return [kind for kind, _, _ in self.asked]


def run(runs: ValuesRuns, child: Child, profile: str = CARD, **config: int) -> RunEnded:
    seed = config.pop("seed", 0)
    step = StepConfig(**config)  # type: ignore[arg-type] # numbers alone
    return runs.run(child.run, profile, step, Recording.EVENTS, seed)


def test_a_step_that_reads_nothing_is_run_once() -> None:
    runs, child = ValuesRuns(), Child(reads=False)
    run(runs, child)
    run(runs, child)
    assert child.kinds == [ValuesPass.UNANSWERED] * 2


def test_the_first_read_brings_two_passes_and_later_runs_know() -> None:
    runs, child = ValuesRuns(), Child(reads=True)
    run(runs, child)
    run(runs, child, batch_size=3)
    values, answered = ValuesPass.VALUES, ValuesPass.ANSWERED
    assert child.kinds == [ValuesPass.UNANSWERED, values, answered, values, answered]


def test_values_are_computed_without_a_limit_and_once_for_a_batch_and_seed() -> None:
    runs, child = ValuesRuns(), Child(reads=True)
    run(runs, child)
    run(runs, child, CARD.replace("1000", "2000"))
    run(runs, child, seed=1)
    assert child.kinds.count(ValuesPass.VALUES) == 2
    for kind, profile, _ in child.asked:
        assert ("=1000" in profile or "=2000" in profile) is (kind is not ValuesPass.VALUES)
    assert [seed for kind, _, seed in child.asked if kind is ValuesPass.VALUES] == [0, 1]


def test_a_values_pass_that_fails_is_the_answer() -> None:
    runs, child = ValuesRuns(reads_values=True), Child(reads=True, fails=True)
    ended = run(runs, child)
    assert ended.trace is not None
    assert ended.trace.outcome is Outcome.MODEL_ERROR
    assert child.kinds == [ValuesPass.VALUES]


def test_a_counted_run_with_values_needs_no_second_pass() -> None:
    runs, child = ValuesRuns(), Child(reads=True)

    def count(values: ValuesRequest) -> RunEnded:
        return child.run(CARD, StepConfig(), Recording.NOTHING, values)

    runs.count(count, StepConfig())
    runs.count(count, StepConfig())
    assert child.kinds == [ValuesPass.UNANSWERED, ValuesPass.VALUES, ValuesPass.VALUES]
