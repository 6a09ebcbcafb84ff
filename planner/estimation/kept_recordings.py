"""Adds to an estimate what was recorded of it: each allocation, further batches, timed operators.

In: the answers of all cards, the counted step. Out: Estimate. Convention: a picture, a page or a
saved file needs these; a report does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.device_timing import device_operators
from planner.estimation.job import JobConfig
from planner.estimation.more_batches import more_samples
from planner.memory.recorded_batches import RecordedBatches
from planner.results.estimate import Estimate
from planner.wire.module_counts import ModelCounts


def with_recordings(
    found: Estimate,
    setup: RunContext,
    answers: Sequence[DeviceMemory],
    counted: ModelCounts | None,
    request: JobConfig,
    *,
    more_batches: int,
) -> Estimate:
    """Returns the estimate with what was recorded on each card; runs up to `more_batches` more."""
    scaled = [None if answer.batch is None else answer.batch.scaled for answer in answers]
    more = [more_samples(setup, answer, more_batches) for answer in answers]
    timed = (
        ()
        if counted is None
        else device_operators(answers, setup.config, counted, request, setup.network)
    )
    return replace(
        found,
        allocations=tuple(answer.allocations for answer in answers),
        batches=tuple(
            None if one is None else RecordedBatches.of(one, besides)
            for one, besides in zip(scaled, more, strict=True)
        ),
        operators=timed,
    )
