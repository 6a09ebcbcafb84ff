"""Which passes a run takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from planner.config.step import OptimizerName, StepConfig
from planner.errors import ChildError
from planner.process.values_runs import ValuesRuns
from planner.wire.jobs import CountJob, NeedsValues, RunAnswer, RunJob
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.trace import Counts, Recording, RunOutcome, StepTrace
from planner.wire.value_reads import ReadLog, ValuesPass

CARD = "name=card\ncapacity_bytes=1000\n"
TRACE = StepTrace(
    outcome=RunOutcome.COMPLETED,
    batch_size=8,
    peak_allocated_bytes=1,
    peak_active_bytes=1,
    peak_reserved_bytes=1,
)
COUNTS = ModelCounts(
    counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
    step=StepCounts(forward_flops_per_sample=1, step_flops=3, activations_per_sample=None),
    modules=(),
    structure=Structure.WHOLE_MODEL,
    flop_rules=FlopRules.TORCH,
    forward_flops_by_torch=1,
    build_on="meta",
)


@dataclass(slots=True)
class Child:
    """Notes what it is asked for; with `reads`, a run without values ends by needing them."""

    reads: bool
    fails: bool = False
    asked: list[tuple[ValuesPass, str, int]] = field(default_factory=list)

    def run(self, job: RunJob) -> RunAnswer | NeedsValues:
        values = job.values
        self.asked.append((values.kind, job.profile, values.seed))
        if values.kind is ValuesPass.UNANSWERED and self.reads:
            return NeedsValues()
        log = ReadLog(seed=values.seed) if values.kind is ValuesPass.VALUES else None
        outcome = RunOutcome.MODEL_ERROR if self.fails else RunOutcome.COMPLETED
        return RunAnswer(trace=replace(TRACE, outcome=outcome), log=log)

    def count(self, job: CountJob) -> ModelCounts | NeedsValues:
        found = self.run(RunJob(profile=job.profile, config=job.config, values=job.values))
        return found if isinstance(found, NeedsValues) else COUNTS

    @property
    def kinds(self) -> list[ValuesPass]:
        return [kind for kind, _, _ in self.asked]


def run(runs: ValuesRuns, child: Child, profile: str = CARD, **config: int) -> RunAnswer:
    seed = config.pop("seed", 0)
    step = StepConfig(**config)  # type: ignore[arg-type] # numbers alone
    job = RunJob(profile=profile, config=step, recording=Recording.EVENTS)
    return runs.run(child.run, job, seed)


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


def test_a_step_of_another_kind_is_asked_anew() -> None:
    """A read of one optimizer's step says nothing of the step of another one."""
    runs, child = ValuesRuns(), Child(reads=True)
    job = RunJob(profile=CARD, config=StepConfig(optimizer=OptimizerName.ADAFACTOR))
    runs.run(child.run, job)
    other = Child(reads=False)
    run(runs, other, batch_size=4, accumulate=2)
    assert other.kinds == [ValuesPass.UNANSWERED]
    again = Child(reads=True)
    runs.run(again.run, replace(job, config=replace(job.config, batch_size=3)))
    assert again.kinds == [ValuesPass.VALUES, ValuesPass.ANSWERED]


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
    runs, child = ValuesRuns(reading={StepConfig(batch_size=1)}), Child(reads=True, fails=True)
    assert run(runs, child).trace.outcome is RunOutcome.MODEL_ERROR
    assert child.kinds == [ValuesPass.VALUES]


def test_a_counted_run_with_values_needs_no_second_pass() -> None:
    runs, child = ValuesRuns(), Child(reads=True)

    job = CountJob(profile=CARD, config=StepConfig(), depth=0)
    assert runs.count(child.count, job) is COUNTS
    assert runs.count(child.count, job) is COUNTS
    assert child.kinds == [ValuesPass.UNANSWERED, ValuesPass.VALUES, ValuesPass.VALUES]


def test_a_pass_that_has_values_cannot_need_them() -> None:
    runs = ValuesRuns(reading={StepConfig(batch_size=1)})
    job = CountJob(profile=CARD, config=StepConfig(), depth=0)
    with pytest.raises(ChildError, match="asked for values in a run that has them"):
        runs.count(lambda job: NeedsValues(), job)
