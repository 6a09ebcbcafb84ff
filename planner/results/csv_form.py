"""Writes records as CSV, for all results that have rows.

In: columns and rows. Out: text. Convention: RFC 4180 with line feeds; an unknown value is empty,
a boolean is `true` or `false`, a range is two columns, and numbers are whole and unrounded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

Cell = bool | int | float | str | None


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> str:
    """Returns a heading and a line for each row; every row has every column and no other."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        assert row.keys() == set(columns)
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def ends(name: str, found: tuple[float, float] | None) -> dict[str, Cell]:
    """Returns the two columns of a range."""
    low, high = (None, None) if found is None else found
    return {f"{name}_low": low, f"{name}_high": high}


def _cell(value: Cell) -> Cell:
    return str(value).lower() if isinstance(value, bool) else value
