"""Answers the questions of process/step_runner.py from kept answers alone.

In: KeptAnswers. Out: traces, recordings and counts as process/client.py gives them, or NotKeptError
where a run would be needed. Convention: nothing is started here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.config.step import StepConfig
from planner.process.kept.answers import KeptAnswers
from planner.process.values_runs import ValuesRuns
from planner.wire.jobs import CountJob, NeedsValues, RunAnswer, RunJob
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import AllocationTrace, Recording, RequestLog, StepTrace


class NotKeptError(Exception):
    """The answer is not kept: only a run can give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRuns:
    """The runs of one target that are kept."""

    answers: KeptAnswers
    values: ValuesRuns = field(default_factory=ValuesRuns)

    def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
        """See StepRunner.

        Raises:
            NotKeptError: it is not kept.
        """
        return self._run(RunJob(profile=profile, config=config), seed).trace

    def requests(self, profile: str, config: StepConfig) -> tuple[StepTrace, RequestLog | None]:
        """See StepRunner.

        Raises:
            NotKeptError: it is not kept.
        """
        found = self._run(RunJob(profile=profile, config=config, recording=Recording.REQUESTS))
        return found.trace, found.requests

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        """See StepRunner.

        Raises:
            NotKeptError: it is not kept.
        """
        found = self._run(RunJob(profile=profile, config=config, recording=Recording.EVENTS))
        return found.trace, found.allocations

    def count(self, profile: str, config: StepConfig) -> ModelCounts:
        """Returns the counts of a step for the whole model.

        Raises:
            NotKeptError: they are not kept.
        """
        return self.values.count(self._counted, CountJob(profile=profile, config=config, depth=0))

    def _run(self, job: RunJob, seed: int = 0) -> RunAnswer:
        return self.values.run(self._once, job, seed)

    def _once(self, job: RunJob) -> RunAnswer | NeedsValues:
        found = self.answers.answer(job)
        if found is None:
            raise NotKeptError
        assert isinstance(found, (RunAnswer, NeedsValues)), "kept by its job"
        return found

    def _counted(self, job: CountJob) -> ModelCounts | NeedsValues:
        found = self.answers.answer(job)
        if found is None:
            raise NotKeptError
        assert isinstance(found, (ModelCounts, NeedsValues)), "kept by its job"
        return found
