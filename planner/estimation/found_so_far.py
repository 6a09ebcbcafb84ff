"""Words the results known so far for a card as a line of progress, before its report is ready.

In: the budget of the card, its run, the largest value. Out: text. Convention: "FOUND; now NEXT":
the result stays on the line, the next action does not.
"""

from __future__ import annotations

from planner.estimation.probes import Axis
from planner.memory.budget import MemoryBudget
from planner.memory.largest import LargestValue
from planner.units import format_bytes
from planner.wire.trace import RunOutcome, StepTrace


def peak_found(budget: MemoryBudget, trace: StepTrace, *, fits: bool) -> str:
    """Returns the device total of the run and whether it fits; no size if the run did not end."""
    verdict = "fits" if fits else "does not fit"
    if trace.outcome is not RunOutcome.COMPLETED:
        return verdict
    peak_bytes = budget.device_total_bytes(trace.peak_reserved_bytes)
    return (
        f"peak {format_bytes(peak_bytes)} of {format_bytes(budget.usable_memory_bytes)}, {verdict}"
    )


def largest_found(axis: Axis, found: LargestValue) -> str:
    """Returns the largest value along an axis in words; "" where nothing limits it."""
    capacity = found.limited
    if capacity is None:
        return ""
    if not capacity.largest:
        return f"not even {axis.label} {axis.words(1)} fits"
    more = " or more" if capacity.is_bound else ""
    return f"largest {axis.label} {axis.words(capacity.largest)}{more}"
