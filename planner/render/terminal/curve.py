"""A Curve for people: the batch to take, bars of throughput and memory, a table.

In: Curve. Out: a renderable. Convention: plain ASCII, also on a pipe; figures are rounded.
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from planner.render.terminal.heading import any_batch, software, values_line
from planner.render.terminal.layout import GAP, FittedTable, closing, verdict_lines, warning_line
from planner.results.curve import KNEE_SHARE, Curve, CurvePoint, recommendation
from planner.units import (
    format_bytes,
    format_duration,
    format_percent,
    format_range,
    format_significant,
)

_NOTHING = "-"
_WIDEST_CHART = 100  # longer bars say no more, also on a pipe
_SHORTEST_BAR, _LONGEST_BAR = 4, 32
_BAR, _OPEN_BAR, _BEYOND = "#", ".", ">"
_SAMPLES_OF_COST = 1_000_000  # a sample alone costs too little to read
_COLUMNS = ("batch", "step", "samples/s", "device total", "bound by", "J/sample")
_BOUND = 4
_LEFT_OUT_FIRST = (6, 5, 1, 4)  # cost, J/sample, step, bound by


def render(curve: Curve, *, verbose: bool = False) -> RenderableType:
    """Returns the report: recommendation, chart, table, warnings, assumptions; `verbose`: notes."""
    parts: list[RenderableType] = [verdict_lines(_verdict(curve)), Text(), _heading(curve)]
    if curve.points:
        parts += [Text(), _Chart(curve), Text(), _table(curve)]
    return Group(*parts, *closing((), curve, verbose=verbose))


def _verdict(curve: Curve) -> list[tuple[str, Text]]:
    """Returns the largest batch, the batch to take, and a line on warnings if there are any."""
    fits = any(point.fits for point in curve.points)
    best = recommendation(curve.points, curve.global_batch_size).sentence
    lines = [
        (curve.gpu, Text(_largest(curve), style="bold green" if fits else "bold red")),
        ("recommended", Text(best)),
    ]
    return [*lines, *warning_line(curve)]


def _heading(curve: Curve) -> RenderableType:
    usable = format_bytes(curve.usable_memory_bytes)
    step = any_batch(curve.config, curve.weight_dtypes)
    return Group(
        Text(curve.target, style="bold"),
        Text(f"{step}, on {curve.gpu_name} with {usable} of usable memory"),
        Text(_knee(curve)),
        Text(software(curve.versions)),
        Text(values_line(curve.values)),
    )


def _largest(curve: Curve) -> str:
    if curve.largest_batch_size is None:
        return "the largest batch was not searched"
    if curve.largest_batch_size == 0:
        return "no batch fits, not even 1"
    more = " or more" if curve.largest_batch_is_bound else ""
    return f"largest batch {curve.largest_batch_size}{more}"


def _knee(curve: Curve) -> str:
    share = format_percent(KNEE_SHARE, 1)
    if curve.knee is None:
        return "no knee, because none of these batches fits"
    return f"knee at batch {curve.knee}, the smallest with {share} of the best throughput"


def _marks(point: CurvePoint, curve: Curve) -> Text:
    """Returns the marks of one batch: knee, largest, recommended; or that it does not fit."""
    if not point.fits:
        return Text("does not fit", style="bold red")
    marked = (
        ("knee", curve.knee),
        ("largest", curve.largest_batch_size),
        ("recommended", curve.recommended_batch_size),
    )
    words = [word for word, batch in marked if batch == point.batch_size]
    return Text(", ".join(words), style="bold green")


class _Chart:
    """A line for each batch, with two bars whose length follows the width."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._best_samples_per_s = max(point.samples_per_s for point in curve.points)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bar = self._bar_length(min(options.max_width, _WIDEST_CHART))
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        table.add_column("batch", justify="right", no_wrap=True)
        table.add_column("samples/s", no_wrap=True)
        table.add_column("memory", no_wrap=True)
        for point in self._curve.points:
            table.add_row(
                str(point.batch_size),
                f"{self._speed(point, bar):{bar}} {format_significant(point.samples_per_s)}",
                f"|{self._memory(point, bar):{bar}}| {_memory_size(point)}",
            )
        yield table
        yield Text(f"a full bar of memory is {format_bytes(self._curve.usable_memory_bytes)}")
        if not all(point.fits for point in self._curve.points):
            yield Text(f"{_OPEN_BAR} does not fit, {_BEYOND} beyond the card")

    def _bar_length(self, width: int) -> int:
        points = self._curve.points
        batch = max(len("batch"), *(len(str(point.batch_size)) for point in points))
        speed = max(len(format_significant(point.samples_per_s)) for point in points)
        memory = max(len(_memory_size(point)) for point in points)
        # Next to the bars: gaps between three columns, a blank before each figure, two fences.
        free = width - batch - speed - memory - 2 * GAP - 4
        return max(_SHORTEST_BAR, min(_LONGEST_BAR, free // 2))

    def _speed(self, point: CurvePoint, bar: int) -> str:
        share = point.samples_per_s / self._best_samples_per_s
        return (_BAR if point.fits else _OPEN_BAR) * max(1, round(bar * share))

    def _memory(self, point: CurvePoint, bar: int) -> str:
        if point.device_total_bytes is None:
            return ""
        sign = _BAR if point.fits else _OPEN_BAR
        share = point.device_total_bytes / self._curve.usable_memory_bytes
        if share > 1:
            return sign * (bar - 1) + _BEYOND
        return sign * max(1, round(bar * share))


def _memory_size(point: CurvePoint) -> str:
    return _NOTHING if point.device_total_bytes is None else format_bytes(point.device_total_bytes)


def _table(curve: Curve) -> RenderableType:
    cost = f"{curve.currency or 'cost'}/M samples"
    columns = (*_COLUMNS, cost, "")
    marks = len(columns) - 1
    return FittedTable(
        columns=columns,
        lines=[(*map(Text, _cells(point)), _marks(point, curve)) for point in curve.points],
        left=(_BOUND, marks),
        left_out_first=_LEFT_OUT_FIRST,
        folded=marks,
    )


def _cells(point: CurvePoint) -> tuple[str, ...]:
    energy, cost = point.joule_per_sample, point.cost_per_sample
    return (
        str(point.batch_size),
        format_duration(point.step_s),
        format_significant(point.samples_per_s),
        _memory_size(point),
        point.bound,
        _NOTHING if energy is None else format_range(energy),
        _NOTHING
        if cost is None
        else format_range((cost[0] * _SAMPLES_OF_COST, cost[1] * _SAMPLES_OF_COST)),
    )
