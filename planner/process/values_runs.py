"""Which passes a run takes: one without values, or a values pass and a pass answered from its log.

In: a job, and a function that has it done once. Out: the answer that counts. Convention: the first
run keeps no values and costs nothing; if it reads one, that and every later run of the target takes
two passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from planner.config.step import StepConfig
from planner.emulator.profile import without_limit
from planner.errors import ChildError
from planner.wire.jobs import AnswerT, CountJob, NeedsValues, RunAnswer, RunJob
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import Outcome, Recording
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

_Key = tuple[str, StepConfig, int]


@dataclass(slots=True, kw_only=True)
class ValuesRuns:
    """The runs of one target. `reads_values` is set by the first run that needs them."""

    reads_values: bool = False
    _logs: dict[_Key, ReadLog] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, ask: Callable[[RunJob], RunAnswer | NeedsValues], job: RunJob, seed: int = 0
    ) -> RunAnswer:
        """The run without values if it reads none, else the one that is answered from a log.

        Where the values pass fails by the user's code, that is the answer.
        """
        if not self.reads_values:
            answer = ask(replace(job, values=ValuesRequest()))
            if not isinstance(answer, NeedsValues):
                return answer
            self.reads_values = True
        profile = without_limit(job.profile)  # values depend on all of it but how much fits
        key = (profile, replace(job.config, alloc_conf=None), seed)
        log = self._logs.get(key)
        if log is None:
            found = _with_values(
                ask(
                    replace(
                        job,
                        profile=profile,
                        recording=Recording.NOTHING,
                        values=values_request(job.config, seed),
                    )
                )
            )
            if found.trace.outcome is not Outcome.COMPLETED or found.log is None:
                return found
            log = found.log
            with self._lock:
                self._logs[key] = log
        answered = ValuesRequest(kind=ValuesPass.ANSWERED, seed=seed, log=log)
        return _with_values(ask(replace(job, values=answered)))

    def count(
        self, ask: Callable[[CountJob], ModelCounts | NeedsValues], job: CountJob
    ) -> ModelCounts:
        """The counted run without values if it reads none, else the one with values.

        Its memory is no result, so that it needs no second pass.
        """
        if not self.reads_values:
            answer = ask(replace(job, values=ValuesRequest()))
            if not isinstance(answer, NeedsValues):
                return answer
            self.reads_values = True
        return _with_values(ask(replace(job, values=values_request(job.config))))


def _with_values(answer: AnswerT | NeedsValues) -> AnswerT:
    """The answer of a pass that has values, which cannot need them.

    Raises:
        ChildError: it says that it does.
    """
    if isinstance(answer, NeedsValues):
        raise ChildError("the child process asked for values in a run that has them")
    return answer


def values_request(config: StepConfig, seed: int = 0) -> ValuesRequest:
    """The values pass of a step."""
    return ValuesRequest(
        kind=ValuesPass.VALUES,
        seed=seed,
        data_dependent=config.data_dependent,
        size_at=config.size_at,
    )
