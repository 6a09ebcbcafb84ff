"""What is known of a card before its report is there, in words for a line of progress.

In: the budget of the card, its run, the largest value. Out: text. Convention: "FOUND; now NEXT":
what is found stays on the line, what comes next does not.
"""

from __future__ import annotations

from planner.estimation.probes import SearchAxis
from planner.memory.budget import MemoryBudget
from planner.memory.largest import LargestValue
from planner.units import format_bytes
from planner.wire.trace import Outcome, StepTrace


def peak_found(budget: MemoryBudget, trace: StepTrace, *, fits: bool) -> str:
    """The device total of the run, and whether it fits; no size where the run did not end."""
    verdict = "fits" if fits else "does not fit"
    if trace.outcome is not Outcome.COMPLETED:
        return verdict
    peak_bytes = budget.device_total_bytes(trace.peak_reserved_bytes)
    return (
        f"peak {format_bytes(peak_bytes)} of {format_bytes(budget.usable_memory_bytes)}, {verdict}"
    )


def largest_found(axis: SearchAxis, found: LargestValue) -> str:
    """The largest value along an axis; "" where nothing limits it."""
    capacity = found.limited
    if capacity is None:
        return ""
    if not capacity.largest:
        return f"not even {axis.label} {axis.unit} fits"
    more = " or more" if capacity.is_bound else ""
    return f"largest {axis.label} {capacity.largest * axis.unit}{more}"
