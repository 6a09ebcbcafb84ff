"""`planner.export`: the memory of a result as the file of another program.

In: an Estimate with recordings, or a file of one. Out: the file. Convention: nothing is run.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from planner.errors import UsageError
from planner.machine.whole_files import check_place, write_whole
from planner.render.exports.result_formats import ResultFormat
from planner.results.result import Result
from planner.results.saved_file import load


def export(
    result: Result | str | PathLike[str],
    *,
    to: str | PathLike[str],
    format: str,
    batch: int | None = None,
    gpu: str | None = None,
) -> Path:
    """Writes the memory of an Estimate for another program, and returns the file.

    `result` has recordings, as of planner.estimate(..., keep_allocations=True), or is a file that
    `save` wrote of it. `format` is "memory-snapshot" (PyTorch's memory viewer), "chrome-trace"
    (Perfetto), "csv", "parquet" or "speedscope". `batch` is replayed, not run; None: that of the
    run. `gpu` is a card of the result; None: the first.

    Raises:
        UsageError: an unknown format, no recordings, not this card or not this batch.
        UnsupportedPlatformError: pyarrow, which "parquet" needs, is not installed.
        OutputError: the file cannot be written.
        DocumentError: the file of the result cannot be read.
    """
    from planner.render.exports.result_file import result_file

    words = [one.value for one in ResultFormat]
    if format not in words:
        raise UsageError(f"format={format!r} is none of {', '.join(words)}")
    check_place(Path(to), "to")
    found = result if isinstance(result, Result) else load(result)
    write_whole(Path(to), result_file(found, ResultFormat(format), batch_size=batch, gpu=gpu))
    return Path(to)
