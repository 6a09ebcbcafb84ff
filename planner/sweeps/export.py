"""Writes the rows of a sweep as Parquet, or as CSV where pyarrow is not installed.

In: rows. Out: bytes, and a file. Convention: a column has one type, also where every row lacks it.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.errors import UnsupportedPlatformError
from planner.machine.whole_files import write_whole
from planner.results.csv_form import csv_text
from planner.sweeps.case import COLUMNS, SweepRow

PARQUET, CSV = "results.parquet", "results.csv"


def write_results(folder: Path, rows: Sequence[SweepRow]) -> Path:
    """Writes the file of a folder's rows, and returns it: Parquet, or CSV without pyarrow.

    Raises:
        OutputError: the disk is full, or the folder may not be written.
    """
    try:
        content: str | bytes = parquet(rows)
        file = folder / PARQUET
    except UnsupportedPlatformError:
        content, file = csv(rows), folder / CSV
    write_whole(file, content)
    return file


def csv(rows: Sequence[SweepRow]) -> str:
    """Returns the rows as CSV, with every column."""
    return csv_text(COLUMNS, [row.to_record() for row in rows])


def parquet(rows: Sequence[SweepRow]) -> bytes:
    """Returns the rows as a Parquet file, with every column.

    Raises:
        UnsupportedPlatformError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import write_table
    except ImportError:
        raise UnsupportedPlatformError(
            "Parquet needs pyarrow, which is not installed: pip install 'vram-planner[parquet]'; "
            "a file that ends in .csv needs nothing"
        ) from None
    kinds: dict[object, Any] = {
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
    }
    hints = typing.get_type_hints(SweepRow)
    types = {name: kinds.get(_kind(hints[name]), pyarrow.string()) for name in COLUMNS}
    table = pyarrow.Table.from_pylist(
        [row.to_record() for row in rows], schema=pyarrow.schema(list(types.items()))
    )
    written = pyarrow.BufferOutputStream()
    write_table(table, written)
    return bytes(written.getvalue().to_pybytes())


def _kind(hint: object) -> object:
    """Returns the type of a field, without None."""
    kinds = [one for one in typing.get_args(hint) if one is not type(None)]
    return kinds[0] if kinds else hint
