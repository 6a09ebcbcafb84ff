"""Which passes a run takes: one without values, or a values pass and a pass answered from its log.

In: functions that run a step once. Out: the run that counts. Convention: the first run keeps no
values and costs nothing; if it reads one, that and every later run of the target takes two passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from planner.config.step import StepConfig
from planner.emulator.profile import without_limit
from planner.wire.protocol import RunEnded
from planner.wire.trace import Outcome, Recording
from planner.wire.value_reads import ReadLog, ValuesPass, ValuesRequest

RunOnce = Callable[[str, StepConfig, Recording, ValuesRequest], RunEnded]
_Key = tuple[str, StepConfig, int]


@dataclass(slots=True, kw_only=True)
class ValuesRuns:
    """The runs of one target. `reads_values` is set by the first run that needs them."""

    reads_values: bool = False
    _logs: dict[_Key, ReadLog] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self,
        run_once: RunOnce,
        profile: str,
        config: StepConfig,
        recording: Recording,
        seed: int = 0,
    ) -> RunEnded:
        """The run without values if it reads none, else the one that is answered from a log.

        Where the values pass fails by the user's code, that is the answer.
        """
        if not self.reads_values:
            ended = run_once(profile, config, recording, ValuesRequest())
            if not ended.needs_values:
                return ended
            self.reads_values = True
        key = (_card(profile), replace(config, alloc_conf=None), seed)
        log = self._logs.get(key)
        if log is None:
            request = values_request(config, seed)
            ended = run_once(without_limit(profile), config, Recording.NOTHING, request)
            assert ended.trace is not None, "a run without a trace is an error"
            if ended.trace.outcome is not Outcome.COMPLETED or ended.log is None:
                return ended
            log = ended.log
            with self._lock:
                self._logs[key] = log
        answered = ValuesRequest(kind=ValuesPass.ANSWERED, seed=seed, log=log)
        return run_once(profile, config, recording, answered)

    def count(
        self, count_once: Callable[[ValuesRequest], RunEnded], config: StepConfig
    ) -> RunEnded:
        """The counted run without values if it reads none, else the one with values.

        Its memory is no result, so that it needs no second pass.
        """
        if not self.reads_values:
            ended = count_once(ValuesRequest())
            if not ended.needs_values:
                return ended
            self.reads_values = True
        return count_once(values_request(config))


def values_request(config: StepConfig, seed: int = 0) -> ValuesRequest:
    """The values pass of a step."""
    return ValuesRequest(
        kind=ValuesPass.VALUES,
        seed=seed,
        data_dependent=config.data_dependent,
        size_at=config.size_at,
    )


def _card(profile: str) -> str:
    """What the values can depend on: all of the profile but how much fits."""
    return without_limit(profile)
