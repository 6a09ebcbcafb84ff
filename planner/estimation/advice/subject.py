"""Describes the step as requested, for the table of levers.

In: the session, the answer for the step as requested, its counts. Out: Subject.
"""

from __future__ import annotations

from planner.config.step import Mode
from planner.config.target import Target
from planner.estimation.advice.best_blocks import best_blocks
from planner.estimation.advice.lever_row import Subject
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.request import EstimateRequest
from planner.estimation.session import EstimationSession
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import weight_dtypes


def subject_of(
    session: EstimationSession,
    asked: EstimateRequest,
    base: DeviceMemory,
    counted: ModelCounts | None,
) -> Subject:
    """Returns the step as requested, with all that its levers depend on.

    `counted` are its counts by module; None: it could not be counted.
    """
    trace, found = base.trace, base.breakdown
    published = asked.target.published if isinstance(asked.target, Target) else None
    capacity = base.batch_capacity
    return Subject(
        config=asked.config,
        weights=weight_dtypes(trace),
        optimizer=trace.optimizer,
        card=base.budget.spec,
        library=None if published is None else published.library,
        task=None if published is None else published.task,
        largest_batch=None if capacity is None else capacity.largest,
        best_blocks=_best_blocks(asked, base, counted),
        own=session.child.runner.levers,
        given=asked.given,
        is_compiled=trace.is_compiled,
        categories={} if found is None else found.by_category(),
    )


def _best_blocks(
    asked: EstimateRequest, base: DeviceMemory, counted: ModelCounts | None
) -> tuple[str, ...]:
    """Returns the blocks to recompute; none where nothing is missing, or without counts."""
    missing_bytes = base.trace.peak_reserved_bytes - base.budget.capacity_bytes
    if asked.config.mode is not Mode.TRAIN or base.fits or missing_bytes <= 0 or counted is None:
        return ()
    return best_blocks(counted.modules, missing_bytes)
