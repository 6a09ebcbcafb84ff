"""The present state of planner's own files and of others, by size and time.

In: folders, paths. Out: texts that change when a file does. Convention: contents are not read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
_CODE = (".py", ".cpp", ".h", ".c")
_BYTECODE = "__pycache__"


def code_digest(without: Collection[str]) -> str:
    """Returns a digest of the sources of planner; folders with a name of `without` are left out."""
    return _digest(_states(str(PACKAGE), {*without, _BYTECODE}, lambda name: name.endswith(_CODE)))


def folder_digest(*folders: Path) -> str:
    """Returns a digest of all files below these folders; a missing one has none."""
    every = (_states(str(folder), {_BYTECODE}, lambda name: True) for folder in folders)
    return _digest(line for lines in every for line in lines)


def file_state(path: str | Path) -> str:
    """Returns size, time and inode of a file or folder, or that it is missing."""
    try:
        seen = os.stat(path)
    except OSError as error:
        return f"missing {error.errno}"
    return f"{seen.st_mode} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"


def _digest(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _states(folder: str, without: set[str], is_wanted: Callable[[str], bool]) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda one: one.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir():
            if entry.name not in without:
                yield from _states(entry.path, without, is_wanted)
        elif is_wanted(entry.name):
            seen = entry.stat()
            yield f"{entry.path} {seen.st_size} {seen.st_mtime_ns}"
