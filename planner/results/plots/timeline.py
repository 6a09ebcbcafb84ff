"""The memory of a run from request to request: areas by category, reserved memory, phases.

In: BatchFigures. Out: a Figure. Convention: the horizontal axis counts requests for memory, not
time; where there are more of them than a picture can show, each point is the highest of its
stretch. Data of the vertical axis are GiB or MiB, by powers of two, so no byte is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.memory.timeline import PhaseSpan, Timeline
from planner.results.device_estimate import DeviceEstimate
from planner.results.palette import (
    CATEGORY_COLOURS,
    LIMIT,
    PHASE_GREYS,
    RESERVED,
    STACK,
    TEXT,
    ink_on,
)
from planner.results.plots.canvas import new_figure, write_title
from planner.results.plots.columns import bent_points, filled_runs, highest_of_stretches
from planner.results.timelines import BatchFigures
from planner.units import GIB, MIB, format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRETCHES = 260
_SIZE_INCHES = (9.0, 4.6)
_ROOM = 1.12  # of the vertical axis over the highest level
_LIMIT_IN_SIGHT = 1.6  # over the highest level; a limit beyond would flatten the picture
_SHARE_OF_LETTER = 0.0072  # of the width: a phase without room for its name has its grey alone


def timeline_figure(figures: BatchFigures, entry: DeviceEstimate, title: str) -> Figure:
    """Returns the timeline of a step on a card; call it within own_style()."""
    timeline = figures.timeline
    factor, unit = (GIB, "GiB") if figures.peak_reserved_bytes >= GIB else (MIB, "MiB")
    figure = new_figure(*_SIZE_INCHES)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(20, 1))
    _areas(above, timeline, factor)
    _reserved(above, timeline, factor)
    top = _ROOM * max(figures.peak_reserved_bytes, figures.peak_allocated_bytes, 1)
    limit = _limit(above, entry, top, factor)
    _mark_peak(above, timeline, factor)
    _strip(below, timeline.phases(), above)
    end = max(len(timeline.events) - 1, 1)
    above.set_xlim(0, end)
    above.set_ylabel(f"memory in {unit}")
    write_title(above, title, _peaks(figures), limit)
    above.tick_params(axis="x", labelbottom=False, length=0)
    below.set_xlabel("requests for memory, in their order")
    figure.legend(loc="outside right upper", handles=_legend(above), alignment="left")
    return figure


def _peaks(figures: BatchFigures) -> str:
    allocated, reserved = figures.peak_allocated_bytes, figures.peak_reserved_bytes
    return (
        f"peak allocated {format_bytes(allocated)} ({allocated:,} bytes), "
        f"peak reserved {format_bytes(reserved)}"
    )


def _areas(axes: Axes, timeline: Timeline, factor: int) -> None:
    """Draws the polygons of each category, where it has memory."""
    total = timeline.allocated_bytes
    kept = highest_of_stretches(total, _STRETCHES)
    found = timeline.by_category()
    lower = [0] * len(kept)
    for category in STACK:
        if category not in found:
            continue
        levels, name = found[category], category.value
        upper = [low + levels[index] for low, index in zip(lower, kept, strict=True)]
        label: str | None = name
        for begin, end in filled_runs(lower, upper):
            there = bent_points(kept[begin:end], [one / factor for one in upper[begin:end]])
            back = bent_points(kept[begin:end], [one / factor for one in lower[begin:end]])
            xs, ys = zip(*there, *reversed(back), strict=True)
            axes.fill(xs, ys, color=CATEGORY_COLOURS[name], linewidth=0, label=label, gid=name)
            label = None
        lower = upper


def _reserved(axes: Axes, timeline: Timeline, factor: int) -> None:
    levels = timeline.reserved_bytes
    if not levels:
        return
    kept = highest_of_stretches(levels, _STRETCHES)
    points = bent_points(kept, [levels[index] / factor for index in kept])
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=RESERVED, linewidth=1.2, label="reserved", gid="reserved")


def limit_bytes(entry: DeviceEstimate) -> int:
    """Returns the memory that PyTorch's allocator can have on the card."""
    others = entry.context_overhead_bytes + entry.outside_bytes + entry.reserve_bytes
    return entry.usable_memory_bytes - others - entry.reserved_offset_bytes


def _limit(axes: Axes, entry: DeviceEstimate, top: float, factor: int) -> str:
    """Draws the limit if it is in sight, and returns the words on it."""
    limit, usable = limit_bytes(entry), format_bytes(entry.usable_memory_bytes)
    why = f"limit {format_bytes(limit)}: usable memory {usable}, less what is not PyTorch's"
    if limit > _LIMIT_IN_SIGHT * top:
        axes.set_ylim(0, top / factor)
        return f"{why}; it is above the picture"
    axes.axhline(limit / factor, color=LIMIT, linestyle=(0, (6, 3)), label="limit", gid="limit")
    axes.set_ylim(0, max(top, _ROOM * limit) / factor)
    return why


def _mark_peak(axes: Axes, timeline: Timeline, factor: int) -> None:
    if not timeline.events:
        return
    index = timeline.peak_index
    event, peak = timeline.events[index], timeline.peak_allocated_bytes
    axes.plot(
        [index], [peak / factor], marker="o", color=TEXT, markersize=4, linestyle="none",
        label=f"peak: step {event.step}, {event.phase.value}", gid="peak",
    )  # fmt: skip


def _strip(axes: Axes, spans: Sequence[PhaseSpan], above: Axes) -> None:
    """Draws the phases as a strip of greys, with names where there is room; steps as lines."""
    whole = spans[-1].end if spans else 1
    step = 0
    for span in spans:
        name, share = span.phase.value, (span.end - span.begin) / whole
        grey = PHASE_GREYS[span.phase]
        axes.axvspan(span.begin, span.end, color=grey, linewidth=0, gid=f"{name} {span.step}")
        if share >= _SHARE_OF_LETTER * (len(name) + 1):
            axes.text(
                (span.begin + span.end) / 2, 0.45, name, ha="center", va="center",
                color=ink_on(grey), fontsize=7, clip_on=True,
            )  # fmt: skip
        if span.step != step:
            step = span.step
            for one in (axes, above):
                one.axvline(span.begin, color=TEXT, linewidth=0.6, linestyle=":")
            above.annotate(
                f"step {step}", (span.begin, 1), (3, -1), xycoords=above.get_xaxis_transform(),
                textcoords="offset points", va="top", fontsize=8,
            )  # fmt: skip
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _legend(axes: Axes) -> list[object]:
    """Returns lines and areas in the order in which they lie upon each other, then the phases."""
    from matplotlib.patches import Patch

    handles, _ = axes.get_legend_handles_labels()
    lines = [one for one in handles if not isinstance(one, Patch)]
    areas = [one for one in handles if isinstance(one, Patch)]
    words = [Patch(alpha=0, label=one) for one in (" ", "phases, in the strip:")]
    phases = [
        Patch(facecolor=grey, edgecolor=TEXT, linewidth=0.4, label=one.value)
        for one, grey in PHASE_GREYS.items()
    ]
    return [*lines, *reversed(areas), *words, *phases]
