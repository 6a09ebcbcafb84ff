"""`python -m benchmarks.kernels`: read the tables, fit, judge, write the page and the table.

Without `--fit` the constants that planner ships are judged and the page is printed. With it they,
the page and results.csv are written anew. `--kind` takes one kind of table alone; what is recorded
of the others stays. `--page` writes the page of what is recorded, without any table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.kernels.kinds import KINDS
from benchmarks.kernels.page import page
from benchmarks.kernels.records import Figure, JudgedBy, Kind, MissingTablesError
from benchmarks.record.environments import REPOSITORY
from benchmarks.record.rows import rows, write_rows

CSV_FILE = Path(__file__).with_name("results.csv")
PAGE = REPOSITORY / "docs" / "kernels.md"
_FIELDS = tuple(field.name for field in fields(Figure))


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads, fits, judges and writes, in this order."""
    options = _parser().parse_args(arguments)
    chosen = [one for one in KINDS if not options.kind or one.name in options.kind]
    if options.page:
        PAGE.write_text(page(KINDS, read_figures(CSV_FILE), options.date), encoding="utf-8")
        return 0
    figures: list[Figure] = []
    try:
        for kind in chosen:
            figures += _judged(kind, fit=options.fit)
    except MissingTablesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = {kind.name for kind in chosen}
    known = [one for one in read_figures(CSV_FILE) if one.kind not in names]
    order = [kind.name for kind in KINDS]
    figures = sorted([*known, *figures], key=lambda one: order.index(one.kind))
    text = page(KINDS, figures, options.date)
    if options.fit:
        PAGE.write_text(text, encoding="utf-8")
        write_rows(CSV_FILE, _FIELDS, map(_row, figures))
    else:
        print(text)
    return 0


def _judged(kind: Kind[Any], *, fit: bool) -> Iterable[Figure]:
    """Returns the figures of a kind, after its constants are fitted and written if asked for."""
    data = kind.read()
    if fit:
        write_constants(kind.file, kind.fit(data))
    return tuple(kind.judge(data, json.loads(kind.file.read_text(encoding="utf-8"))))


def write_constants(file: Path, constants: Mapping[str, Any]) -> None:
    """Writes constants as JSON, one line for each key, without needless blanks."""
    lines = [
        f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}"
        for name, value in constants.items()
    ]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_figures(file: Path) -> list[Figure]:
    """Reads the figures of results.csv; none if there is no such file."""
    return [_figure(row) for row in rows(file)] if file.is_file() else []


def _figure(row: Mapping[str, str]) -> Figure:
    return Figure(
        kind=row["kind"],
        part=row["part"],
        card=row["card"],
        judged_by=JudgedBy(row["judged_by"]),
        number=int(row["number"]),
        median=float(row["median"]),
        p90=float(row["p90"]),
        bias=float(row["bias"]),
        spread=float(row["spread"]),
        before=float(row["before"]) if row["before"] else None,
    )


def _row(one: Figure) -> dict[str, object]:
    values = {name: getattr(one, name) for name in _FIELDS}
    return {
        name: round(value, 4) if isinstance(value, float) else getattr(value, "value", value)
        for name, value in values.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--fit", action="store_true", help="fit and write constants and record")
    what.add_argument("--page", action="store_true", help="write the page from results.csv alone")
    parser.add_argument(
        "--kind",
        action="append",
        choices=[one.name for one in KINDS],
        help="only this kind of table (repeatable)",
    )
    parser.add_argument("--date", default=date.today().isoformat(), help="on the page (today)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
