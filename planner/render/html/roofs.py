"""The roofline of a card on a page: points of operators, roofs, and the table beside the chart.

In: an Estimate with its operators. Out: a chart for scripts/charts.js and rows of text, or the
reason why there is none.
"""

from __future__ import annotations

from typing import Any

from planner.errors import UsageError
from planner.results.estimate import Estimate
from planner.results.roofline import Roofline, roofline_of_estimate
from planner.units import format_duration, format_percent, format_significant

_POINTS = 400  # of a chart; those that take the most time
_ROWS = 15
_TERA, _GIGA = 1e12, 1e9


def roofline_or_why(estimate: Estimate, index: int) -> Roofline | str:
    """Returns the roofline of a card; or a sentence that says why there is none."""
    try:
        return roofline_of_estimate(estimate, index)
    except UsageError as error:
        text = str(error)
        return f"No roofline is drawn: {text}."


def chart_of(found: Roofline | str) -> dict[str, Any]:
    """Returns the chart; without points where there is no roofline."""
    if isinstance(found, str):
        return {"kind": "roofline", "label": "Roofline", "points": [], "roofs": [], "slope": 0}
    return {
        "kind": "roofline",
        "label": "Operators under the roofs of the card",
        "points": [
            {
                "x": point.intensity_flops_per_byte,
                "y": point.flops_per_s,
                "phase": point.phase.value,
                "share": point.spent_s / found.step_s,
                "name": f"{point.name}, {point.phase.value}, {point.calls} calls",
            }
            for point in found.points[:_POINTS]
        ],
        "roofs": [{"name": one.name, "y": one.flops_per_s} for one in found.roofs],
        "slope": found.memory_bytes_per_s,
    }


def rows_of(found: Roofline | str) -> list[tuple[str, ...]]:
    """Returns the operators that take the most time, as texts."""
    if isinstance(found, str):
        return []
    return [
        (
            point.name,
            point.phase.value,
            str(point.calls),
            format_significant(point.intensity_flops_per_byte),
            f"{format_significant(point.flops_per_s / _TERA)} TFLOP/s",
            format_duration(point.spent_s),
            format_percent(point.spent_s, found.step_s),
        )
        for point in found.points[:_ROWS]
    ]


def lead_of(found: Roofline | str) -> str:
    """Returns what the chart shows, in words."""
    if isinstance(found, str):
        return found
    roofs = " and ".join(
        f"{format_significant(one.flops_per_s / _TERA)} TFLOP/s ({one.name})" for one in found.roofs
    )
    share = format_percent(found.without_flops_s, found.step_s)
    return (
        "Counted FLOPs and bytes, predicted seconds, of one micro-batch and the optimizer. Points: "
        "blue is forward, orange loss, red backward, pink the optimizer; larger takes more time. "
        "Roofs: "
        f"{format_significant(found.memory_bytes_per_s / _GIGA)} GB/s of memory, {roofs}. "
        f"Operators without FLOPs are not in it; they take {share} of the time."
    )
