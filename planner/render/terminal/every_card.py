"""Every card in the database on a row of its own, from the smallest to the largest.

In: an Estimate of all cards. Out: a renderable. Convention: plain ASCII; sizes are rounded.
"""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from planner.render.terminal.fits import fits_cell
from planner.render.terminal.largest import is_confirmed, largest_batch
from planner.render.terminal.layout import FittedTable
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import format_bytes, format_duration, format_percent

_COLUMNS = (
    "card", "usable memory", "device total", "taken", "fits", "largest batch", "confirmed",
    "step time", "bound",
)  # fmt: skip
_LEFT = (0, 4, 6, 8)
_LEFT_OUT_FIRST = (8, 7, 3)  # where the terminal is narrow


def every_card(estimate: Estimate) -> RenderableType:
    """Returns the table; cards of one size are in the order of their names."""
    entries = sorted(estimate.gpus, key=lambda one: (one.usable_memory_bytes, one.requested))
    is_timed = any(entry.time is not None for entry in entries)
    shown = len(_COLUMNS) if is_timed else _COLUMNS.index("step time")
    return FittedTable(
        columns=_COLUMNS[:shown],
        lines=[_cells(entry)[:shown] for entry in entries],
        left=_LEFT,
        left_out_first=[position for position in _LEFT_OUT_FIRST if position < shown],
        folded=0,
    )


def _cells(entry: DeviceEstimate) -> tuple[Text, ...]:
    used_bytes = entry.device_total_bytes + entry.reserve_bytes
    time = entry.time
    return (
        Text(entry.requested),
        Text(format_bytes(entry.usable_memory_bytes)),
        Text(format_bytes(entry.device_total_bytes)),
        Text(format_percent(used_bytes, entry.usable_memory_bytes)),
        fits_cell(entry),
        Text(largest_batch(entry)),
        Text(is_confirmed(entry)),
        Text("" if time is None else format_duration(time.step_s)),
        Text("" if time is None else time.bottleneck.bound.value),
    )
