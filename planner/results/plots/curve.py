"""Throughput and memory against the batch, one above the other.

In: Curve. Out: a Figure. Convention: batches have a logarithmic axis; what does not fit has a
hollow mark; a figure that is not known has no mark, and the title counts these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.results.curve import Curve, CurvePoint
from planner.results.palette import LIMIT, MAIN, SECOND, TEXT
from planner.results.plots.canvas import new_figure, write_title
from planner.units import GIB, counted, format_bytes, format_significant

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (9.0, 5.0)
_APART = 1.3  # batches closer than that share a number


def curve_figure(curve: Curve) -> Figure:
    """Returns samples a second and device total by batch; call it within own_style().

    Raises:
        UsageError: the curve has no points.
    """
    if not curve.points:
        raise UsageError(f"there is nothing to plot: the curve of {curve.target} has no points")
    figure = new_figure(*_SIZE_INCHES)
    speed, memory = figure.subplots(2, 1, sharex=True)
    _line(speed, curve.points, [one.samples_per_s for one in curve.points], "samples/s")
    known = [one for one in curve.points if one.device_total_bytes is not None]
    totals = [(one.device_total_bytes or 0) / GIB for one in known]
    _line(memory, known, totals, "device total")
    memory.axhline(
        curve.usable_memory_bytes / GIB, color=LIMIT, linestyle=(0, (6, 3)), gid="usable memory",
        label=f"usable memory {format_bytes(curve.usable_memory_bytes)}",
    )  # fmt: skip
    for axes, label in ((speed, "samples a second"), (memory, "device total in GiB")):
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    _marks(speed, curve)
    memory.set_xscale("log", base=2)
    batches = _ticks([one.batch_size for one in curve.points])
    memory.set_xticks(batches, list(map(str, batches)), rotation=45 if len(batches) > 12 else 0)
    memory.minorticks_off()
    memory.set_xlabel("batch")
    write_title(
        speed, f"{curve.target} on {curve.gpu_name}", *_words(curve, len(known)), letters=82
    )
    handles: list[Artist] = []
    labels: list[str] = []
    for axes in (speed, memory):
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles, labels = [*handles, handle], [*labels, label]
    figure.legend(handles, labels, loc="outside right upper", alignment="left")
    return figure


def _ticks(batches: Sequence[int]) -> list[int]:
    """Returns the batches whose numbers do not touch each other."""
    chosen: list[int] = []
    for batch in batches:
        if not chosen or batch >= _APART * chosen[-1]:
            chosen.append(batch)
    return chosen


def _line(axes: Axes, points: Sequence[CurvePoint], values: Sequence[float], name: str) -> None:
    batches = [one.batch_size for one in points]
    axes.plot(batches, values, color=MAIN, linewidth=1.2, gid=name)
    for fits, face in ((True, MAIN), (False, "white")):
        chosen = [
            (b, v) for b, v, one in zip(batches, values, points, strict=True) if one.fits is fits
        ]
        if chosen:
            xs, ys = zip(*chosen, strict=True)
            axes.plot(
                xs, ys, marker="o", linestyle="none", color=MAIN, markerfacecolor=face,
                label="fits" if fits else "does not fit", gid=f"{name}, {fits}",
            )  # fmt: skip


def _marks(axes: Axes, curve: Curve) -> None:
    """Marks knee, recommendation and the largest batch by lines."""
    marks: dict[int, list[str]] = {}
    for name, batch in (
        ("knee", curve.knee),
        ("recommended", curve.recommended_batch_size),
        ("largest", curve.largest_batch_size),
    ):
        if batch:
            marks.setdefault(batch, []).append(name)
    styles = ((SECOND, "-"), (TEXT, ":"), (SECOND, "-."))
    for (batch, names), (colour, style) in zip(sorted(marks.items()), styles, strict=False):
        axes.axvline(
            batch, color=colour, linestyle=style, linewidth=1.1, gid=" ".join(names),
            label=f"{' and '.join(names)}: {batch}",
        )  # fmt: skip


def _words(curve: Curve, known: int) -> tuple[str, ...]:
    fitting = [one for one in curve.points if one.fits]
    best = max(fitting, key=lambda one: one.samples_per_s, default=None)
    words = (
        "no batch of these fits"
        if best is None
        else f"best of those that fit: {format_significant(best.samples_per_s)} samples/s at batch "
        f"{best.batch_size}"
    )
    unknown = len(curve.points) - known
    if not unknown:
        return (words,)
    return (words, f"device total is not known at {counted(unknown, 'point')}")
