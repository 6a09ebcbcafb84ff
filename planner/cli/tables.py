"""Prints the hardware database on stdout: a list, a sheet of one record, or JSON.

In: records, with the columns or lines to show. Convention: columns that do not fit a narrow
terminal are left out from the right; on a pipe nothing is folded or cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.cli.output import Document, print_json, print_renderable, report_console
from planner.hardware.specs import Price
from planner.render.outside_text import shown

UNKNOWN = "-"


class Match(Protocol):
    """A record found by name."""

    @property
    def spec(self) -> Document: ...
    @property
    def requested(self) -> str: ...
    @property
    def note(self) -> str | None: ...


_OF_TEXT = (
    "name",
    "cards",
    "cpu",
    "links",
    "dtype",
    "library",
    "family",
)  # left-aligned, as the first
_PIPED_WIDTH = 400  # wide enough that no line of a piped table is folded or cut

S = TypeVar("S", bound=Document)
Column = tuple[str, Callable[[S], str]]  # its heading, and the cell of a record


def print_records(
    key: str, columns: Sequence[Column[S]], records: Sequence[S], *, as_json: bool
) -> None:
    """Prints all records of a kind: a line each, or the JSON list `key`."""
    if as_json:
        print_json({key: [record.to_dict() for record in records]})
    else:
        print_list(columns, records)


def print_match(key: str, match: Match) -> None:
    """Prints a record found by name, as the JSON object `key`."""
    document = {"requested": match.requested, "note": match.note, key: match.spec.to_dict()}
    print_json(document)


def with_those_before(
    context: click.Context, hardware_db: Path | None, as_json: bool
) -> tuple[Path | None, bool]:
    """Returns the options of `show`, including those given before that word."""
    before = context.parent.params if context.parent else {}
    return hardware_db or before.get("hardware_db"), as_json or bool(before.get("as_json"))


def print_list(columns: Sequence[Column[S]], records: Iterable[S]) -> None:
    """Prints a line for each record; the first column and those of texts are left-aligned."""
    out = report_console(_PIPED_WIDTH)
    kept = list(columns)
    if out.width >= _PIPED_WIDTH:
        kept = [(title.replace("\n", " "), cell) for title, cell in kept]
    rows = [[shown(cell(record)) for _, cell in kept] for record in records]
    while len(kept) > 2 and _needed_width([title for title, _ in kept], rows) > out.width:
        kept.pop()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, (title, _) in enumerate(kept):
        text = position == 0 or title in _OF_TEXT
        table.add_column(title, justify="left" if text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row[: len(kept)])
    print_renderable(table, out)


def print_sheet(
    title: str,
    note: str | None,
    lines: Sequence[tuple[str, str]],
    sections: Mapping[str, Sequence[tuple[str, str]]],
) -> None:
    """Prints one record: its name, the note, a line for each figure, then named sections."""
    parts: list[RenderableType] = [Text(shown(title), style="bold")]
    if note:
        parts.append(Text(f"note: {shown(note)}"))
    parts.append(_pairs(lines, bold=True))
    for heading, pairs in sections.items():
        parts += [Text(f"\n{shown(heading)}", style="bold"), _pairs(pairs, bold=False)]
    print_renderable(Group(*parts), report_console(_PIPED_WIDTH))


def pcie(generation: int | None, lanes: int | None) -> str:
    """Returns the words for a slot or a card's connector."""
    if generation is None:
        return UNKNOWN
    return f"generation {generation}" if lanes is None else f"generation {generation} x{lanes}"


def prices(of: Sequence[Price]) -> str:
    """Returns the prices, each with its provider and date."""
    return "; ".join(
        f"{price.usd_per_hour:g} USD an hour ({price.provider}, {price.date})"
        if price.usd_per_hour is not None
        else f"{price.usd_to_buy:g} USD ({price.provider}, {price.date})"
        for price in of
    )


def _pairs(lines: Sequence[tuple[str, str]], *, bold: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold" if bold else "", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in lines:
        table.add_row(shown(label), shown(value) or UNKNOWN)
    return table


def _needed_width(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    widths = [
        max(len(text) for text in (*title.split("\n"), *(row[position] for row in rows)))
        for position, title in enumerate(titles)
    ]
    return sum(widths) + 2 * (len(widths) - 1)
