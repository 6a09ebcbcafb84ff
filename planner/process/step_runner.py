"""The questions that a search asks of whatever runs a step: a target, or a script.

In: a profile and a StepConfig. Out: traces and recordings, as process/client.py describes them.
"""

from __future__ import annotations

from typing import Protocol

from planner.config.step import StepConfig
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import AllocationTrace, RequestLog, StepTrace


class StepRunner(Protocol):
    """Runs a step on the card of a profile."""

    def run(self, profile: str, config: StepConfig, seed: int = 0) -> StepTrace:
        """Runs it; `seed` draws the numbers that only a card could compute."""
        ...

    def requests(self, profile: str, config: StepConfig) -> tuple[StepTrace, RequestLog | None]:
        """Runs it and records each request to the allocator; None: it was not recorded."""
        ...

    def count(self, profile: str, config: StepConfig) -> ModelCounts:
        """Counts the cost of it for the whole model."""
        ...

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        """Runs it and records the purpose of each request; None: it was not recorded."""
        ...
