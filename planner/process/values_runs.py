"""Chooses the passes of a run: one without values, or a values pass and a pass with its log.

In: a job, and a function that runs it once. Out: the answer that counts. Convention: the first run
keeps no values and costs nothing more. If it reads a value, this run and every later run of the
target take two passes, in steps that differ from it in their sizes alone: another optimizer may
read none.
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
from planner.wire.trace import Recording, RunOutcome
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

_Key = tuple[str, StepConfig, int]


@dataclass(slots=True, kw_only=True)
class ValuesRuns:
    """The runs of one target. `reading` are the kinds of steps of which a run has read values."""

    reading: set[StepConfig] = field(default_factory=set)
    _logs: dict[_Key, ReadLog] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, ask: Callable[[RunJob], RunAnswer | NeedsValues], job: RunJob, seed: int = 0
    ) -> RunAnswer:
        """Runs without values if the step reads none, else with values from a log.

        If the user's code fails in the values pass, returns the answer of that pass.
        """
        kind = _kind_of(job.config)
        if kind not in self.reading:
            answer = ask(replace(job, values=ValuesRequest()))
            if not isinstance(answer, NeedsValues):
                return answer
            self.reading.add(kind)
        profile = without_limit(job.profile)  # values depend on the card, not on its capacity
        key = (profile, replace(job.config, alloc_conf=None), seed)
        log = self._logs.get(key)
        if log is None and job.config.window is None:
            answered = self._as_its_window(ask, job, key)
            if answered is not None:
                return answered
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
            if found.trace.outcome is not RunOutcome.COMPLETED or found.log is None:
                return found
            log = found.log
            with self._lock:
                self._logs[key] = log
        return _answered(ask, job, log)

    def _as_its_window(
        self, ask: Callable[[RunJob], RunAnswer | NeedsValues], job: RunJob, key: _Key
    ) -> RunAnswer | None:
        """Runs a whole generation with the log of its beginning; None: it has read more than that.

        What generate() reads is read before its first token, unless the model itself reads.
        """
        with self._lock:
            logs = [
                log
                for (profile, config, seed), log in self._logs.items()
                if (profile, replace(config, window=None), seed) == key
                and config.window is not None
                and not config.window.skipped
            ]
        if not logs:
            return None
        found = _answered(ask, job, logs[0])
        return None if found.trace.parted_reads else found

    def count(
        self, ask: Callable[[CountJob], ModelCounts | NeedsValues], job: CountJob
    ) -> ModelCounts:
        """Counts in a run without values if the step reads none, else in a values pass.

        The memory of this run is not used, so it needs no second pass.
        """
        kind = _kind_of(job.config)
        if kind not in self.reading:
            answer = ask(replace(job, values=ValuesRequest()))
            if not isinstance(answer, NeedsValues):
                return answer
            self.reading.add(kind)
        return _with_values(ask(replace(job, values=values_request(job.config))))


def _answered(
    ask: Callable[[RunJob], RunAnswer | NeedsValues], job: RunJob, log: ReadLog
) -> RunAnswer:
    request = ValuesRequest(kind=ValuesPass.ANSWERED, seed=log.seed, log=log)
    return _with_values(ask(replace(job, values=request)))


def _kind_of(config: StepConfig) -> StepConfig:
    """Returns the step without its sizes, its window and the allocator's setting."""
    return replace(
        config, batch_size=1, sequence_length=None, accumulate=1, alloc_conf=None, window=None
    )


def _with_values(answer: AnswerT | NeedsValues) -> AnswerT:
    """Returns the answer of a pass that has values.

    Raises:
        ChildError: the answer says that the pass needs values.
    """
    if isinstance(answer, NeedsValues):
        raise ChildError("the child process asked for values in a run that has them")
    return answer


def values_request(config: StepConfig, seed: int = 0) -> ValuesRequest:
    """Returns the request for the values pass of a step."""
    return ValuesRequest(
        kind=ValuesPass.VALUES,
        seed=seed,
        data_dependent=config.data_dependent,
        size_at=config.size_at,
    )
