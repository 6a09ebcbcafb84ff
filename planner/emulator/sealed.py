"""A folder of files with a manifest of their sizes and SHA-256, so that damage is noticed.

In: a folder that was just filled. Out: its manifest, later: what the manifest says, or in which
way the folder is not as it was written. Convention: names of files are relative and plain.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "device.json"
_FILES, _LINKS = "files", "links"
_MAX_MANIFEST_BYTES = 1 << 20  # ours has some kilobytes


class DamagedError(Exception):
    """The folder is not as it was written; the text says in which way."""


def seal(folder: Path, document: Mapping[str, Any]) -> None:
    """Writes the manifest, with `document` in it, and all of the folder to the disk.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    files = {
        str(path.relative_to(folder)): {
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in _all_files(folder)
        if not path.is_symlink()
    }
    links = {
        str(path.relative_to(folder)): os.readlink(path)
        for path in _all_files(folder)
        if path.is_symlink()
    }
    whole = {**document, _FILES: files, _LINKS: links}
    (folder / MANIFEST).write_text(json.dumps(whole, indent=1), encoding="utf-8")
    for path in _all_files(folder):
        if not path.is_symlink():
            flush_to_disk(path)
    for inside, _, _ in os.walk(folder, topdown=False):
        flush_to_disk(Path(inside))


def opened_seal(folder: Path) -> dict[str, Any]:
    """The document that the folder was sealed with; every file is read and compared.

    Raises:
        DamagedError: a file is missing, has other bytes or is none, or the manifest is damaged.
    """
    if not stat.S_ISDIR(_status(folder, folder.name).st_mode):
        raise DamagedError("it is not a folder")
    try:
        document = json.loads(_content(folder, MANIFEST, _MAX_MANIFEST_BYTES))
        files, links = dict(document[_FILES]), dict(document[_LINKS])
        sealed = {
            _plain(name): (int(one["size_bytes"]), str(one["sha256"]))
            for name, one in files.items()
        }
        targets = {_plain(name): str(target) for name, target in links.items()}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DamagedError(f"{MANIFEST} is not whole") from None
    for name, (size_bytes, digest) in sealed.items():
        content = _content(folder, name, size_bytes)
        if len(content) != size_bytes or hashlib.sha256(content).hexdigest() != digest:
            raise DamagedError(f"{name} is not as it was written")
    for name, target in targets.items():
        if not stat.S_ISLNK(_status(folder / name, name).st_mode):
            raise DamagedError(f"{name} is not as it was written")
        if os.readlink(folder / name) != target:
            raise DamagedError(f"{name} is not as it was written")
    return dict(document)


def sealed_names(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The names of files under `key` of an opened document, each of them a file of the seal.

    Raises:
        DamagedError: there is no such list, or it names something else.
    """
    names = document.get(key)
    if not isinstance(names, list) or not all(
        isinstance(name, str) and "/" not in name and name in document[_FILES] for name in names
    ):
        raise DamagedError(f"{MANIFEST} is not whole")
    return tuple(names)


def flush_to_disk(path: Path) -> None:
    """Waits until the file or folder is on the disk: a power failure must not leave half of it.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _all_files(folder: Path) -> Iterator[Path]:
    """Files and links, without the manifest."""
    for inside, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(inside) / name
            if path != folder / MANIFEST:
                yield path


def _plain(name: str) -> str:
    """The name, if it stays within the folder.

    Raises:
        ValueError: it leaves it.
    """
    parts = name.split("/")
    if not all(parts) or set(parts) & {".", ".."} or "\0" in name:
        raise ValueError(name)
    return name


def _status(path: Path, name: str) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise DamagedError(f"{name} is missing ({error.strerror})") from None


def _content(folder: Path, name: str, most_bytes: int) -> bytes:
    """The bytes of a regular file, and at most one more than there should be."""
    path = folder / name
    if not stat.S_ISREG(_status(path, name).st_mode):
        raise DamagedError(f"{name} is not a file")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read(most_bytes + 1)
    except OSError as error:
        raise DamagedError(f"{name} cannot be read ({error.strerror})") from None
