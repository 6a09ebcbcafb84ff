"""Finds the tables of aiconfigurator-core, which is installed for the benchmark alone.

In: a card's folder and an operator. Out: columns of each engine's table. Convention: milliseconds
of one kernel in a CUDA graph of many; the package's code is never imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kernels.records import MissingTablesError

VERSION = "0.12.0"
# Folder of the package to id of the database. GB200 and GB300 hold the B200's and B300's chips, of
# another power, and are not in the database; B60 is an Intel card.
CARDS = {
    "a100_sxm": "a100-sxm4-80gb", "h100_sxm": "h100-sxm5-80gb", "h200_sxm": "h200-sxm",
    "b200_sxm": "b200-sxm", "l40s": "l40s", "rtx_pro_6000_server": "rtx-pro-6000-blackwell",
}  # fmt: skip
_HOW = (
    f"pip install --no-deps aiconfigurator-core=={VERSION} && pip install pyarrow, into an"
    " environment of its own; planner does not need them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable:
    """What one engine measured on one card: lists of equal length by column."""

    engine: str
    """sglang, trtllm or vllm."""
    version: str
    """Of the engine, as the folder is named."""
    columns: dict[str, list[Any]]
    """As the package names them; `latency` is milliseconds."""


def folder() -> Path:
    """Returns the folder of the cards. Raises MissingTablesError if it is not installed."""
    for entry in sys.path:
        found = Path(entry or ".") / "aiconfigurator_core" / "systems" / "data"
        if found.is_dir():
            return found
    raise MissingTablesError(f"no aiconfigurator_core on this interpreter's path: {_HOW}")


def tables(card: str, operator: str, file: str = "*") -> Iterator[EngineTable]:
    """Yields the tables of a card's folder, one for each engine and version.

    Args:
        card: A folder, as in CARDS.
        operator: As `gemm` or `context_attention`.
        file: A pattern of the file's name, without its ending.
    """
    try:
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise MissingTablesError(f"no pyarrow: {_HOW}") from error
    for path in sorted((folder() / card / operator).glob(f"*/*/{file}.parquet")):
        engine, version = path.parts[-3:-1]
        yield EngineTable(engine=engine, version=version, columns=read_table(path).to_pydict())
