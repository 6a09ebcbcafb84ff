"""The operators of a step as points under the roofs of its card.

In: Inspection. Out: a Figure. Convention: both axes are logarithmic; a larger point takes more of
the step's time, in five sizes; roofs are the card's published peaks. A point may be above the slope
where its bytes are in a cache, and above a roof where a convolution has fewer multiplications.
"""

from __future__ import annotations

from math import log
from textwrap import wrap
from typing import TYPE_CHECKING

from planner.results.inspection import Inspection
from planner.results.palette import PHASE_COLOURS, TEXT
from planner.results.plots.canvas import new_figure, write_title
from planner.results.roofline import Roofline, RooflinePoint, roofline_of
from planner.results.words import printable, step_words
from planner.units import counted, format_duration, format_percent, format_significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (9.0, 5.2)
_LETTERS = "abcdef"  # of the points that take the most time
_SIZES = ((0.05, 13), (0.02, 10), (0.005, 7.5), (0.001, 5.5), (0.0, 3.5))  # share of time, points
_TITLE_LETTERS = 82  # the legend has the rest of the width
_TERA, _GIGA = 1e12, 1e9


def roofline_figure(inspection: Inspection) -> Figure:
    """Returns the roofline of the step; call it within own_style().

    Raises:
        UsageError: the card is not in the database, or no operator has FLOPs.
    """
    found = roofline_of(inspection)
    figure = new_figure(*_SIZE_INCHES)
    axes = figure.subplots()
    _points(axes, found)
    _names(axes, found)
    low, high = _ends(axes, found)
    _roofs(axes, found, low, high)
    axes.set_xlabel("FLOPs for each byte read or written")
    axes.set_ylabel("TFLOP/s")
    axes.grid(color="#E6E6E6", linewidth=0.5)
    axes.set_axisbelow(True)
    write_title(
        axes,
        f"{inspection.target}, {step_words(inspection.config)}, on {inspection.gpu}",
        f"{counted(len(found.points), 'kind')} of calls with FLOPs; a larger point takes more of "
        f"{format_duration(found.step_s)} (predicted)",
        _left_out(found),
        letters=_TITLE_LETTERS,
    )
    figure.legend(loc="outside right upper", alignment="left")
    return figure


def _left_out(found: Roofline) -> str:
    if not found.without_flops:
        return ""
    share = format_percent(found.without_flops_s, found.step_s)
    return (
        f"{counted(found.without_flops, 'kind')} of calls without FLOPs have no point; they take "
        f"{share} of the time"
    )


def _points(axes: Axes, found: Roofline) -> None:
    for phase, colour in PHASE_COLOURS.items():
        label: str | None = phase.value
        for least, size in _SIZES:
            chosen = [
                one for one in found.points
                if one.phase is phase and _size(one, found.step_s) == (least, size)
            ]  # fmt: skip
            if chosen:
                axes.plot(
                    [one.intensity_flops_per_byte for one in chosen],
                    [one.flops_per_s / _TERA for one in chosen],
                    marker="o", linestyle="none", color=colour, markersize=size, alpha=0.75,
                    markeredgecolor="white", markeredgewidth=0.5, gid=f"{phase.value} {least}",
                )  # fmt: skip
                if label is not None:
                    axes.plot([], [], marker="o", linestyle="none", color=colour, label=label)
                label = None


def _names(axes: Axes, found: Roofline) -> None:
    """Gives letters to the points that take the most time; the legend has their names."""
    places: dict[tuple[float, float], list[str]] = {}
    for letter, one in zip(_LETTERS, found.points, strict=False):
        x, y = one.intensity_flops_per_byte, one.flops_per_s / _TERA
        near = next((p for p in places if abs(log(p[0] / x)) + abs(log(p[1] / y)) < 0.1), (x, y))
        places.setdefault(near, []).append(letter)
        share = format_percent(one.spent_s, found.step_s)
        words = f"{letter}: {one.name.removeprefix('aten::')}, {share}"
        axes.plot([], [], linestyle="none", label="\n    ".join(wrap(printable(words), 30)))
    for place, letters in places.items():
        axes.annotate(
            " ".join(letters), place, (0, 8), textcoords="offset points", ha="center", fontsize=8
        )


def _ends(axes: Axes, found: Roofline) -> tuple[float, float]:
    """Sets the axes so that all points, the highest roof and its ridge are in sight."""
    top = max(one.flops_per_s for one in found.roofs)
    intensities = [one.intensity_flops_per_byte for one in found.points]
    ridge = top / found.memory_bytes_per_s
    low, high = min(*intensities, ridge / 4) / 2, max(*intensities, ridge) * 2
    slowest = min(one.flops_per_s for one in found.points)
    fastest = max(top, *(one.flops_per_s for one in found.points))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(slowest, top / 10) / 2 / _TERA, fastest * 2 / _TERA)
    from matplotlib.ticker import LogLocator

    for axis in (axes.xaxis, axes.yaxis):  # matplotlib's own powers of ten are formulas
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda *_: "")
    return low, high


def _size(point: RooflinePoint, step_s: float) -> tuple[float, float]:
    return next(one for one in _SIZES if point.spent_s / step_s >= one[0])


def _roofs(axes: Axes, found: Roofline, low: float, high: float) -> None:
    """Draws the slope of the memory bandwidth up to the highest roof, and each roof from there."""
    bandwidth = found.memory_bytes_per_s
    top = max(one.flops_per_s for one in found.roofs)
    axes.plot(
        [low, top / bandwidth], [low * bandwidth / _TERA, top / _TERA], color=TEXT, linewidth=1.2,
        label=f"{format_significant(bandwidth / _GIGA)} GB/s of memory", gid="bandwidth",
    )  # fmt: skip
    for number, roof in enumerate(found.roofs):
        begin = roof.flops_per_s / bandwidth
        axes.plot(
            [begin, max(high, begin)], [roof.flops_per_s / _TERA] * 2, color=TEXT, linewidth=1.2,
            linestyle=("-", "--", ":", "-.")[number % 4], gid="roof",
            label=f"{roof.name}:\n{format_significant(roof.flops_per_s / _TERA)} TFLOP/s"
            f"{' peak' if roof.is_peak else ' reached'}",
        )  # fmt: skip
