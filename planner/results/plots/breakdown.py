"""The parts of the peak as bars, and cards as bars of device total against usable memory.

In: DeviceEstimate. Out: a Figure. Convention: data are GiB or MiB, by powers of two, so no byte is
lost; each bar has its figure in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.results.device_estimate import DeviceEstimate
from planner.results.palette import LIMIT, MAIN, PALE, SECOND
from planner.results.parts_bar import total_parts
from planner.results.plots.canvas import label_bars, new_figure, write_title
from planner.units import GIB, MIB, counted, format_bytes, format_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH_INCHES, _BAR_INCHES, _FRAME_INCHES = 8.0, 0.28, 1.25


def breakdown_figure(entry: DeviceEstimate, title: str, note: str) -> Figure:
    """Returns a bar for each part of the device total; call it within own_style().

    Raises:
        UsageError: the parts of the peak are not known.
    """
    parts = total_parts(entry)
    if not parts:
        raise UsageError(
            f"there is nothing to plot for {entry.requested}: the run could not be recorded, so "
            "the parts of its peak are not known"
        )
    names, sizes, colours = zip(*parts, strict=True)
    factor, unit = (GIB, "GiB") if max(sizes) >= GIB else (MIB, "MiB")
    figure = new_figure(_WIDTH_INCHES, _FRAME_INCHES + _BAR_INCHES * len(parts))
    axes = figure.subplots()
    bars = axes.barh(names, [size / factor for size in sizes], color=colours, gid="parts")
    label_bars(axes, bars, list(map(format_bytes, sizes)))
    axes.invert_yaxis()
    axes.set_xlabel(f"memory in {unit}")
    total, usable = entry.device_total_bytes, entry.usable_memory_bytes
    found = entry.peak_summary
    where = "" if found is None else f"peak in step {found.peak_step}, {found.peak_phase.value}; "
    words = (
        f"{where}device total {format_bytes(total)} of {format_bytes(usable)} usable memory, "
        f"{format_percent(total, usable)}"
    )
    write_title(axes, title, words, note)
    return figure


def cards_figure(entries: Sequence[DeviceEstimate], title: str) -> Figure:
    """Returns device total against usable memory of each card, the largest card first."""
    ordered = sorted(entries, key=lambda one: -one.usable_memory_bytes)
    figure = new_figure(_WIDTH_INCHES, _FRAME_INCHES + _BAR_INCHES * len(ordered))
    axes = figure.subplots()
    places = range(len(ordered))  # two cards may have been named alike
    usable = [one.usable_memory_bytes / GIB for one in ordered]
    totals = [one.device_total_bytes / GIB for one in ordered]
    colours = [MAIN if one.fits else SECOND for one in ordered]
    axes.barh(places, usable, color=PALE, gid="usable memory")
    bars = axes.barh(places, totals, color=colours, height=0.45, gid="device total")
    label_bars(
        axes, bars,
        [
            f"{format_bytes(one.device_total_bytes)} of {format_bytes(one.usable_memory_bytes)}"
            f"{'' if one.fits else ', does not fit'}"
            for one in ordered
        ],
        beyond=usable,
    )  # fmt: skip
    axes.plot(usable, places, marker="|", color=LIMIT, linestyle="none", gid="limit")
    axes.margins(y=0.01)
    axes.set_yticks(places, [one.requested for one in ordered])
    axes.invert_yaxis()
    axes.set_xlabel("memory in GiB")
    fitting = sum(one.fits for one in ordered)
    write_title(
        axes, title,
        f"it fits on {fitting} of {counted(len(ordered), 'card')}: device total (dark; blue fits, "
        "orange does not), usable memory (pale, to the red line)",
    )  # fmt: skip
    return figure
