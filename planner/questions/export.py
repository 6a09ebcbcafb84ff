"""export(): writes what an Estimate knows of memory as a file of another program.

Estimate with recordings -> the batch's requests, by replay -> the content -> the file, whole or not
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.machine.whole_files import check_place, write_whole
from planner.render.exports.result_formats import ResultFormat

if TYPE_CHECKING:
    from planner.results.result import Result


def export(
    result: Result,
    file: str | PathLike[str],
    *,
    format: ResultFormat | str,
    batch_size: int | None = None,
    gpu: str | None = None,
) -> None:
    """Writes the memory of an Estimate to a file of another program; nothing is run.

    `format` is a ResultFormat or its word, like "memory-snapshot". `batch_size` is that of the run
    where it is None, `gpu` the first card. The estimate has to be of `keep_allocations`, or of a
    file of `--save`. A file that is there is replaced once the new one is complete.

    Raises:
        UsageError: a format, card or batch that the result does not have.
        UnsupportedPlatformError: a package that the format needs is not installed.
        OutputError: the file cannot be written.
    """
    from planner.render.exports.result_file import result_file  # loads slowly

    place, form = Path(file), result_format(format)
    check_place(place, "file")
    write_whole(place, result_file(result, form, batch_size=batch_size, gpu=gpu))


def result_format(word: ResultFormat | str) -> ResultFormat:
    """Returns the format of a word.

    Raises:
        UsageError: there is no such format.
    """
    try:
        return ResultFormat(word)
    except ValueError:
        known = ", ".join(one.value for one in ResultFormat)
        raise UsageError(f"format {word!r} is not known; it is one of {known}") from None
