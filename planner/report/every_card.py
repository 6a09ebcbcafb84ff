"""Every card in the database on a row of its own, from the smallest to the largest.

In: an Estimate of all cards. Out: a renderable. Convention: plain ASCII; sizes are rounded.
"""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from planner.gpu_estimate import GpuEstimate
from planner.report.largest import largest_batch
from planner.results import Estimate
from planner.units import format_bytes, format_percent

_HEADINGS = ("card", "usable memory", "device total", "taken", "fits", "largest batch")


def every_card(estimate: Estimate) -> RenderableType:
    """The table; cards of one size are in the order of their names."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in ("card", "fits") else "right")
    for entry in sorted(estimate.gpus, key=lambda one: (one.usable_memory_bytes, one.requested)):
        table.add_row(*_cells(entry))
    return table


def _cells(entry: GpuEstimate) -> tuple[Text, ...]:
    used_bytes = entry.device_total_bytes + entry.reserve_bytes
    return (
        Text(entry.requested),
        Text(format_bytes(entry.usable_memory_bytes)),
        Text(format_bytes(entry.device_total_bytes)),
        Text(format_percent(used_bytes, entry.usable_memory_bytes)),
        Text("yes", style="bold green") if entry.fits else Text("no", style="bold red"),
        Text(largest_batch(entry)),
    )
