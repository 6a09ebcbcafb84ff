"""Forms that reports share: a table that fits a narrow terminal, a titled list of sentences.

In: rows, or sentences. Out: renderables. Convention: columns that do not fit are left out,
the least important first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from planner.units import counted

GAP = 2  # blanks between two columns


class FittedTable:
    """A table; columns are named by position, `left` ones are left-aligned, `folded` may wrap."""

    def __init__(
        self,
        *,
        columns: Sequence[str],
        lines: Sequence[tuple[Text, ...]],
        left: Sequence[int],
        left_out_first: Sequence[int],
        folded: int,
    ) -> None:
        self._columns, self._lines = columns, lines
        self._left, self._left_out_first, self._folded = left, left_out_first, folded

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept = self._kept(options.max_width)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for position in kept:
            table.add_column(
                Text(self._columns[position]),
                justify="left" if position in self._left else "right",
                no_wrap=position != self._folded,
                overflow="fold",
            )
        for line in self._lines:
            table.add_row(*(line[position] for position in kept))
        yield table

    def _kept(self, limit: int) -> list[int]:
        kept = list(range(len(self._columns)))
        for position in self._left_out_first:
            if sum(self._width(index) + GAP for index in kept) - GAP <= limit:
                break
            kept.remove(position)
        return kept

    def _width(self, position: int) -> int:
        return max(len(self._columns[position]), *(len(line[position]) for line in self._lines), 0)


class Remarked(Protocol):
    """A result with sentences about its figures; `notes` are some of the assumptions."""

    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def assumptions(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


def closing(
    sections: Sequence[tuple[str, Sequence[str]]],
    result: Remarked,
    *,
    verbose: bool,
    left_out: Sequence[str] = (),
) -> list[RenderableType]:
    """Returns the end of a report: `sections`, warnings, assumptions; with `verbose` notes too.

    Without it the last line names the parts that are left out: `left_out`, and the notes.
    """
    notes = [text for text in result.assumptions if text in result.notes]
    assumed = [text for text in result.assumptions if text not in result.notes]
    parts = titled_lists(
        (
            *sections,
            ("warnings", result.warnings),
            ("assumed", assumed),
            ("good to know", notes if verbose else ()),
        )
    )
    more = [*left_out, *([f"{counted(len(notes), 'note')} on the figures"] if notes else [])]
    if more and not verbose:
        parts += [Text(), Text(f"--verbose adds: {', '.join(more)}", style="dim")]
    return parts


def verdict_lines(lines: Sequence[tuple[str, Text]]) -> RenderableType:
    """Returns the first lines of a report: each has a name and the verdict on it."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines:
        table.add_row(Text(f"{name}:", style="bold"), text)
    return table


def warning_line(result: Remarked) -> list[tuple[str, Text]]:
    """Returns the line of a verdict that points to the warnings below; empty without any."""
    if not result.warnings:
        return []
    return [("warnings", Text(f"{len(result.warnings)}, see below", style="bold yellow"))]


def titled_lists(sections: Sequence[tuple[str, Sequence[str]]]) -> list[RenderableType]:
    """Returns each section that has lines, after an empty line."""
    parts: list[RenderableType] = []
    for title, lines in sections:
        if lines:
            parts += [Text(), _list(title, lines)]
    return parts


def _list(title: str, lines: Sequence[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row("-", Text(line))
    return Group(Text(title, style="bold"), table)
