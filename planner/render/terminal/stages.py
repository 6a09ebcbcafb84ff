"""The stages of a pipeline on one card: peak, weights and time of each.

In: DeviceEstimate. Out: a table, None where the target is no pipeline.
"""

from __future__ import annotations

from rich.table import Table

from planner.results.device_estimate import DeviceEstimate
from planner.units import format_bytes, format_duration

_GAP = 2


def stages_table(entry: DeviceEstimate) -> Table | None:
    """Returns a row for each stage: the peak allocated in it, weights on the card, its kernels."""
    found = entry.peak_summary
    if found is None or not found.stages:
        return None
    seconds = {} if entry.time is None else dict(entry.time.stages_s)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for title in (f"{entry.requested}, stage", "peak", "of it weights", "kernels"):
        table.add_column(title, no_wrap=True)
    for one in found.stages:
        time = seconds.get(one.stage)
        table.add_row(
            one.stage,
            format_bytes(one.peak_bytes),
            format_bytes(one.weights_bytes),
            "-" if time is None else format_duration(time),
        )
    return table
