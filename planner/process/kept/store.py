"""The folder of kept answers: private, bounded, safe for several processes at once.

In: names and bytes. Out: the bytes as they were written, or nothing. Convention: each file is
written whole and never changed; a broken file counts as missing and is removed; the time of a file
is that of its last use, and the files that were not used for longest are removed first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from planner.emulator.cache import VARIABLE, cache_folder
from planner.errors import BuildError, UsageError
from planner.machine.private_folders import WeakFolder, made_private, weak_part
from planner.units import GIB, parse_bytes

SIZE_VARIABLE = "VRAM_PLANNER_CACHE_SIZE"
OFF_VARIABLE = "VRAM_PLANNER_NO_CACHE"
DEFAULT_SIZE_BYTES = 2 * GIB
_LEFT_FRACTION = 0.9  # of the size, after files were removed
_MARK = b"planner-kept-1\n"
_DIGEST_BYTES = 32
_DRAFT = ".draft-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the folder holds."""

    folder: Path
    files: int
    size_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The folder, which only this user may change."""

    folder: Path

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file, and marks it as used; None where there is none."""
        path = self.folder / name
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        content = _opened(raw)
        with suppress(OSError):
            if content is None:
                path.unlink()
            else:
                os.utime(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a file whole.

        Raises:
            OSError: the disk is full, or the folder may not be written.
        """
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.parent / f"{_DRAFT}{os.urandom(8).hex()}"
        try:
            draft.write_bytes(_sealed(content))
            os.replace(draft, path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise

    def names(self, folder: str) -> list[str]:
        """Returns the files of a folder, the last used first."""
        found = []
        try:
            with os.scandir(self.folder / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(_DRAFT) and entry.is_file(follow_symlinks=False):
                        found.append((entry.stat().st_mtime_ns, entry.name))
        except OSError:
            return []
        return [name for _, name in sorted(found, reverse=True)]

    def prune(self, limit_bytes: int) -> None:
        """Removes the files that were not used for longest, where all are above the limit."""
        found = sorted(_files(self.folder))
        taken = sum(size for _, size, _ in found)
        if taken <= limit_bytes:
            return
        for _, size, path in found:
            if taken <= limit_bytes * _LEFT_FRACTION:
                break
            with suppress(OSError):
                os.unlink(path)
                taken -= size
        for folder, _, _ in os.walk(self.folder, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)  # only an empty one


def open_store() -> Store:
    """Opens or creates the folder.

    Raises:
        BuildError: it cannot be used.
    """
    folder = answers_folder()
    try:
        made = made_private(folder)
        if isinstance(made, WeakFolder):
            raise BuildError(f"{made.folder} is not safe: {made.reason}")
        os.chmod(made, stat.S_IRWXU)
    except OSError as error:
        raise BuildError(f"{folder}: {error.strerror or error}") from error
    return Store(folder=made)


def answers_folder() -> Path:
    """Returns the folder of answers: below $VRAM_PLANNER_CACHE, else the user's cache folder."""
    return cache_folder().parent / "answers"


def limit_bytes() -> int:
    """Returns the most that the folder may hold.

    Raises:
        UsageError: $VRAM_PLANNER_CACHE_SIZE is no size.
    """
    text = os.environ.get(SIZE_VARIABLE)
    if not text:
        return DEFAULT_SIZE_BYTES
    try:
        return parse_bytes(text)
    except UsageError as error:
        raise UsageError(f"{SIZE_VARIABLE} in the environment: {error}") from None


def contents() -> Contents:
    """Returns what is kept; changes nothing."""
    folder = answers_folder()
    found = [size for _, size, _ in _files(folder)]
    return Contents(
        folder=folder, files=len(found), size_bytes=sum(found), limit_bytes=limit_bytes()
    )


def clear() -> Contents:
    """Removes all answers; returns what was kept.

    Raises:
        BuildError: the folder belongs to another user, or is not safe.
    """
    before = contents()
    if os.path.lexists(before.folder):
        weak = weak_part(before.folder)
        if weak is not None:
            raise BuildError(f"{weak.folder} is not safe: {weak.reason}; set {VARIABLE}")
        try:
            shutil.rmtree(os.path.realpath(before.folder))
        except OSError as error:
            raise BuildError(f"{error.filename}: {error.strerror or error}") from error
    return before


def _files(folder: Path) -> Iterator[tuple[int, int, str]]:
    """Yields time, size and path of each file."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with suppress(OSError):
                seen = os.lstat(path)
                yield seen.st_mtime_ns, seen.st_size, path


def _sealed(content: bytes) -> bytes:
    packed = zlib.compress(content, 1)
    return _MARK + hashlib.sha256(packed).digest() + packed


def _opened(raw: bytes) -> bytes | None:
    """Returns the content; None where the file is broken."""
    body = raw[len(_MARK) :]
    digest, packed = body[:_DIGEST_BYTES], body[_DIGEST_BYTES:]
    if not raw.startswith(_MARK) or hashlib.sha256(packed).digest() != digest:
        return None
    try:
        return zlib.decompress(packed)
    except zlib.error:
        return None
