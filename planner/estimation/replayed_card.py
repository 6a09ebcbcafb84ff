"""Replays a recorded run on a card with less memory than it ran on.

In: the run without a limit, its requests, the card's budget. Out: the run with its peaks on this
card, or None where it does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.memory.allocator.replay import Request, replay
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.budget import MemoryBudget
from planner.wire.trace import StepTrace


def replayed_on_card(
    budget: MemoryBudget,
    trace: StepTrace,
    requests: Sequence[Request],
    settings: AllocatorSettings,
) -> StepTrace | None:
    """Returns the run with its peaks on the card of `budget`; None where it does not fit."""
    if trace.peak_reserved_bytes <= budget.capacity_bytes:
        return trace
    full = replay(
        requests,
        settings,
        capacity_bytes=budget.capacity_bytes,
        total_memory_bytes=budget.usable_memory_bytes,
    )
    if full.out_of_memory is not None:
        return None
    return replace(
        trace,
        peak_allocated_bytes=full.peak_allocated_bytes,
        peak_active_bytes=full.peak_active_bytes,
        peak_reserved_bytes=full.peak_reserved_bytes,
    )
