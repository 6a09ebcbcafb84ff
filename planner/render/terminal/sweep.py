"""Shows the rows of a sweep as a table, as a grid, or as Markdown.

In: rows, or a Grid. Out: renderables, or text. Convention: a cell without a figure is empty, and
the reason of a failed case comes below the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.render.outside_text import shown
from planner.sweeps.case import SweepOutcome, SweepRow
from planner.sweeps.views import Grid, value_of, varied_options
from planner.units import format_bytes, format_duration, format_range, format_significant

_TITLES = {
    "batch_size": "batch", "device_total_bytes": "device total", "max_batch_size": "largest batch",
    "step_s": "step time", "outcome": "result",
}  # fmt: skip
_OF_TEXT = ("target", "gpu", "precision", "outcome", "bound")
_FIGURES = (
    "outcome",
    "device_total_bytes",
    "interval",
    "max_batch_size",
    "step_s",
    "bound",
    "cost",
)
_MOST_REASONS = 20


def columns_of(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """Returns the columns to show: the question, options that differ, and the figures."""
    return ("target", "gpu", "batch_size", "precision", *varied_options(rows), *_FIGURES)


def table(rows: Sequence[SweepRow], title: str | None = None) -> RenderableType:
    """Returns a table of the rows, and the reasons of those that failed."""
    names = columns_of(rows)
    parts: list[RenderableType] = [] if title is None else [Text(title, style="bold")]
    lines = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        lines.add_column(title_of(name), justify="left" if name in _OF_TEXT else "right")
    for row in rows:
        lines.add_row(*(Text(cell(row, name)) for name in names))
    return Group(*parts, lines, *map(Text, reasons(rows)))


def grid_table(grid: Grid) -> RenderableType:
    """Returns a table of a grid."""
    lines = Table(box=None, pad_edge=False, header_style="bold")
    lines.add_column(title_of(grid.down))
    for name in grid.names_across:
        lines.add_column(Text(text_of(name)), justify="right")
    for cells in grid_cells(grid):
        lines.add_row(*map(Text, cells))
    return lines


def grid_cells(grid: Grid) -> Iterator[list[str]]:
    """Yields the texts of each line of a grid, its name first."""
    for name, rows in zip(grid.names_down, grid.rows, strict=True):
        yield [text_of(name), *("" if row is None else cell(row, grid.value) for row in rows)]


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table of Markdown."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "".join(f"| {' | '.join(map(_escaped, row))} |\n" for row in rows)


def markdown_rows(rows: Sequence[SweepRow]) -> str:
    """Returns the rows as Markdown, and the reasons of those that failed."""
    names = columns_of(rows)
    lines = [[cell(row, name) for name in names] for row in rows]
    failed = "".join(f"\n- {_escaped(reason)}" for reason in reasons(rows))
    return markdown([title_of(name) for name in names], lines) + (f"{failed}\n" if failed else "")


def markdown_grid(grid: Grid) -> str:
    """Returns a grid as Markdown."""
    headings = [title_of(grid.down), *map(text_of, grid.names_across)]
    return markdown(headings, list(grid_cells(grid)))


def reasons(rows: Sequence[SweepRow]) -> list[str]:
    """Returns why cases failed, a line for each of the first."""
    failed = [row for row in rows if row.outcome is SweepOutcome.FAILED]
    lines = [
        f"{row.target} on {row.gpu}, batch {row.batch_size}, {row.precision}: "
        f"{(row.reason or '').partition(chr(10))[0]}"
        for row in failed[:_MOST_REASONS]
    ]
    more = len(failed) - len(lines)
    return [*lines, *([f"and {more} more failed: --json has each reason"] if more > 0 else [])]


def title_of(name: str) -> str:
    """Returns the heading of a column."""
    return _TITLES.get(name, name.replace("_", " "))


def cell(row: SweepRow, name: str) -> str:
    """Returns the text of a column of a row; "" where it is not known."""
    if name == "interval":
        ends = (row.device_total_bytes_low, row.device_total_bytes_high)
        low, high = (None if end is None else format_bytes(end) for end in ends)
        return "" if low is None else f"{low} to {high}"
    if name == "cost" or name.startswith("cost_per_sample"):
        return _cost(row)
    value = value_of(row, name)
    if value is None:
        return ""
    if name == "max_batch_size" and row.max_batch_is_bound:
        return f"{value} or more"
    if name == "max_batch_size" and row.max_batch_confirmed is False:
        return f"about {value}"  # of a replay that no run has confirmed
    if name.endswith("_bytes") or "_bytes_" in name:
        return format_bytes(value)
    if name.endswith("_s") or name.startswith("step_s"):
        return format_duration(value) if "per_s" not in name else format_significant(value)
    return text_of(value)


def text_of(value: Any) -> str:
    """Returns a value as a text of one line."""
    return value if isinstance(value, str) else json.dumps(value)


def _cost(row: SweepRow) -> str:
    if row.cost_per_sample_low is None or row.cost_per_sample_high is None:
        return ""
    million = (row.cost_per_sample_low * 1e6, row.cost_per_sample_high * 1e6)
    return f"{format_range(million, row.currency or '')} for 1 M samples"


def _escaped(text: str) -> str:
    return shown(text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " "))
