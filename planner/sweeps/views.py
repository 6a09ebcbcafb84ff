"""Views of the rows of a sweep: chosen, ranked, in groups, or turned into a grid of two columns.

In: rows, and the names of columns in the caller's words. Out: rows, or a Grid. Convention: a cell
of a grid is of one row; where several would share it, the caller has to choose.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.config.target import parse_argument
from planner.errors import UsageError
from planner.sweeps.case import COLUMNS, SweepOutcome, SweepRow
from planner.sweeps.words import axis_name

_SHORT = {
    "peak": "device_total_bytes",
    "step_time": "step_s",
    "cost": "cost_per_sample_high",
    "energy": "joule_per_sample_high",
    "throughput": "samples_per_s",
    "largest_batch": "max_batch_size",
    "batch": "batch_size",
}
RANKS = ("step-time", "cost", "energy", "peak", "throughput", "largest-batch")
_LARGEST_FIRST = ("samples_per_s", "max_batch_size")
_ORDER = tuple(SweepOutcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Values of one column by two others; None: there is no such row."""

    down: str
    across: str
    value: str
    names_down: tuple[Any, ...]
    names_across: tuple[Any, ...]
    rows: tuple[tuple[SweepRow | None, ...], ...]


def column(word: str) -> str:
    """Returns the name of a column: "peak", "step-time", or a column or option as it is written.

    Raises:
        UsageError: there is no such column.
    """
    name = word.strip().lower().replace("-", "_")
    name = _SHORT.get(name, name)
    if name in COLUMNS:
        return name
    try:
        return axis_name(name)
    except UsageError:
        near = difflib.get_close_matches(name, (*_SHORT, *COLUMNS), n=2)
        hint = (
            f"; did you mean {' or '.join(near)}?" if near else f"; columns: {', '.join(COLUMNS)}"
        )
        raise UsageError(f"{word!r} is no column of a sweep{hint}") from None


def value_of(row: SweepRow, name: str) -> Any:
    """Returns the value of a column, or of an option that has none of its own."""
    if name in COLUMNS:
        found = getattr(row, name)
        return found.value if isinstance(found, SweepOutcome) else found
    return json.loads(row.options).get(name)


def chosen(rows: Sequence[SweepRow], conditions: Sequence[str]) -> tuple[SweepRow, ...]:
    """Returns the rows for which every condition, like "batch=8", holds.

    Raises:
        UsageError: a condition has no "=", or its column is not there.
    """
    for text in conditions:
        word, value = parse_argument(text)
        name = column(word)
        wanted = {_folded(value), _folded(text.partition("=")[2])}
        rows = [row for row in rows if _folded(value_of(row, name)) in wanted]
    return tuple(rows)


def ranked(rows: Sequence[SweepRow], by: str) -> tuple[SweepRow, ...]:
    """Returns the rows with the best first: those that fit, those that do not, those that failed.

    Raises:
        UsageError: there is no such column, or the prices have several currencies.
    """
    name = column(by)
    currencies = {row.currency for row in rows if row.currency is not None}
    if name.startswith("cost") and len(currencies) > 1:
        raise UsageError(
            f"rows have prices in {', '.join(sorted(currencies))}, which cannot be compared: "
            "choose some with --where currency=..."
        )
    sign = -1 if name in _LARGEST_FIRST else 1

    def order(row: SweepRow) -> tuple[int, bool, Any]:
        value = value_of(row, name)
        number = value if isinstance(value, (int, float)) else None
        return _ORDER.index(row.outcome), number is None, sign * (number or 0)

    return tuple(sorted(rows, key=order))


def grouped(rows: Sequence[SweepRow], by: str) -> dict[Any, tuple[SweepRow, ...]]:
    """Returns the rows by the value of a column, in the order in which the values come.

    Raises:
        UsageError: there is no such column.
    """
    name = column(by)
    return {
        value: tuple(row for row in rows if value_of(row, name) == value)
        for value in _distinct(rows, name)
    }


def pivoted(rows: Sequence[SweepRow], words: str) -> Grid:
    """Returns a grid; `words` are three columns: down, across and in the cells.

    Raises:
        UsageError: not three columns, or several rows for one cell.
    """
    named = [column(word) for word in words.split(",") if word.strip()]
    if len(named) != 3:
        raise UsageError(
            f"pivot {words!r} must be three columns, like target,gpu,peak: down, across, and the "
            "value in the cells"
        )
    down, across, value = named
    places: dict[tuple[str, str], SweepRow] = {}
    for row in rows:
        place = (_folded(value_of(row, down)), _folded(value_of(row, across)))
        other = places.setdefault(place, row)
        if other is not row:
            raise UsageError(
                f"pivot {words}: {' and '.join(place)} have several rows, which differ in "
                f"{_difference(other, row)}; choose some with --where, like --where batch=8"
            )
    names_down, names_across = _distinct(rows, down), _distinct(rows, across)
    return Grid(
        down=down,
        across=across,
        value=value,
        names_down=names_down,
        names_across=names_across,
        rows=tuple(
            tuple(places.get((_folded(one), _folded(other))) for other in names_across)
            for one in names_down
        ),
    )


def varied_options(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """Returns the options, other than batch and precision, in which the rows differ."""
    every = [json.loads(row.options) for row in rows]
    names = sorted({name for options in every for name in options} - {"batch_size", "precision"})
    return tuple(name for name in names if len({_folded(one.get(name)) for one in every}) > 1)


def _difference(one: SweepRow, other: SweepRow) -> str:
    names = ("target", "gpu", "batch_size", "precision", *varied_options((one, other)))
    return ", ".join(name for name in names if value_of(one, name) != value_of(other, name))


def _distinct(rows: Sequence[SweepRow], name: str) -> tuple[Any, ...]:
    return tuple(
        {_folded(value): value for value in (value_of(row, name) for row in rows)}.values()
    )


def _folded(value: Any) -> str:
    return (
        json.dumps(value, sort_keys=True).lower() if not isinstance(value, str) else value.lower()
    )
