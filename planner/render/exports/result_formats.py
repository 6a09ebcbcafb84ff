"""The files of other programs that a result can be written as.

Convention: a module of its own, which a command line loads quickly.
"""

from __future__ import annotations

from enum import Enum


class ResultFormat(str, Enum):
    """The form of the file, by the name of what reads it."""

    MEMORY_SNAPSHOT = "memory-snapshot"
    """A snapshot for PyTorch's memory viewer."""
    CHROME_TRACE = "chrome-trace"
    """A trace for Perfetto and chrome://tracing."""
    CSV = "csv"
    """A table of all requests for memory."""
    PARQUET = "parquet"
    """The same table, for data frames."""
    SPEEDSCOPE = "speedscope"
    """A flame graph of the peak for speedscope."""


ENDINGS = {
    ResultFormat.MEMORY_SNAPSHOT: ".pickle",
    ResultFormat.CHROME_TRACE: ".trace.json",
    ResultFormat.CSV: ".csv",
    ResultFormat.PARQUET: ".parquet",
    ResultFormat.SPEEDSCOPE: ".speedscope.json",
}
BINARY = (ResultFormat.MEMORY_SNAPSHOT, ResultFormat.PARQUET)
