"""Writes a result to a file for `--save`, and reads it for `planner show` and `load`.

In: a result, a path. Out: a zip archive with `result.json`, the complete document, and of an
Estimate `allocations-N.json`, the recorded allocations on card N, `batches-N.json`, its requests at
a few batches, and `operators-N.json`, its operators with their times. Nothing in it is executed. A
plain JSON document, as `--json` prints it, is read too.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from planner.errors import DocumentError
from planner.machine.whole_files import write_whole
from planner.memory.recorded_batches import RecordedBatches
from planner.results.document import complete_document, result_of
from planner.results.estimate import Estimate
from planner.results.result import Result
from planner.timing.timed_operators import TimedOperators
from planner.wire.trace import AllocationTrace

_Recording = TypeVar("_Recording")

_RESULT = "result.json"
_ALLOCATIONS = "allocations-{}.json"
_BATCHES = "batches-{}.json"
_OPERATORS = "operators-{}.json"
# 15,000 allocations of a step are 3 MB of JSON. A file far above it is not ours, or a zip bomb.
_LARGEST_BYTES = 1 << 30
_MOST_MEMBERS = 1000
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # equal results are equal files


def is_saved(file: Path) -> bool:
    """Returns whether a file is a saved result: an archive, JSON, or what is called so."""
    if not file.is_file():
        return file.suffix in (".planner", ".json")
    if zipfile.is_zipfile(file):
        return True
    with file.open("rb") as opened:
        return opened.read(64).lstrip()[:1] == b"{"


def save(result: Result, path: str | PathLike[str]) -> None:
    """Writes a result to a file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    members = {_RESULT: json.dumps(complete_document(result), indent=2).encode()}
    if isinstance(result, Estimate):
        members |= _recordings(_ALLOCATIONS, result.allocations)
        members |= _recordings(_BATCHES, result.batches)
        members |= _recordings(_OPERATORS, result.operators)
    page = io.BytesIO()
    with zipfile.ZipFile(page, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.external_attr = 0o644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    write_whole(Path(path), page.getvalue())


def _recordings(name: str, found: Sequence[object]) -> dict[str, bytes]:
    return {
        # Not msgspec's own JSON: a path may hold characters that UTF-8 cannot.
        name.format(index): json.dumps(msgspec.to_builtins(one)).encode()
        for index, one in enumerate(found)
        if one is not None
    }


def load(path: str | PathLike[str]) -> Result:
    """Reads a result that `save` or `planner ... --json` wrote.

    Raises:
        DocumentError: the file is not there, damaged, or not a result of planner.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise DocumentError("it is not a file" if file.exists() else "there is no such file")
        if zipfile.is_zipfile(file):
            return _from_archive(file)
        return result_of(_document(_limited(file.stat().st_size, file.read_bytes)), Result)
    except DocumentError as error:
        raise DocumentError(f"{file} cannot be read: {error}") from error
    except OSError as error:
        raise DocumentError(f"{file} cannot be read: {error.strerror or error}") from error


def _from_archive(file: Path) -> Result:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if _RESULT not in names or len(names) > _MOST_MEMBERS:
                raise DocumentError(f"it is an archive without {_RESULT}, so not a result")
            found = result_of(_document(_member(archive, _RESULT)), Result)
            if not isinstance(found, Estimate):
                return found
            cards = range(len(found.gpus))
            allocations = [_read(archive, _ALLOCATIONS, n, names, AllocationTrace) for n in cards]
            batches = [_read(archive, _BATCHES, n, names, RecordedBatches) for n in cards]
            operators = [_read(archive, _OPERATORS, n, names, TimedOperators) for n in cards]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DocumentError(f"the archive is damaged ({error})") from error
    return replace(
        found,
        allocations=tuple(allocations) if any(allocations) else (),
        batches=tuple(batches) if any(batches) else (),
        operators=tuple(operators) if any(operators) else (),
    )


def _read(
    archive: zipfile.ZipFile, pattern: str, index: int, names: list[str], kind: type[_Recording]
) -> _Recording | None:
    name = pattern.format(index)
    if name not in names:
        return None
    try:
        return msgspec.convert(_document(_member(archive, name)), kind)
    except (ValueError, TypeError) as error:
        raise DocumentError(f"{name} in it cannot be read ({error})") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    import zlib

    info = archive.getinfo(name)
    try:
        with archive.open(info) as member:  # the size that the archive states may be wrong
            return _limited(info.file_size, lambda: member.read(_LARGEST_BYTES + 1))
    except zlib.error as error:
        raise DocumentError(f"{name} in it is damaged ({error})") from error


def _limited(size_bytes: int, read: Callable[[], bytes]) -> bytes:
    if size_bytes <= _LARGEST_BYTES:
        data = read()
        if len(data) <= _LARGEST_BYTES:
            return data
    raise DocumentError(f"it is larger than {_LARGEST_BYTES >> 20} MiB, so not a result")


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"it is neither JSON nor an archive of --save ({error})") from error
    if not isinstance(found, Mapping):
        raise DocumentError(f"it is JSON, but a {type(found).__name__} in place of an object")
    return found
