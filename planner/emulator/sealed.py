"""Seals a folder with a manifest of its files' sizes and SHA-256, to detect damage.

In: a folder that was just filled. Out: its manifest; later the manifest's content, or the way in
which the folder is damaged. Convention: names of files are relative and plain.
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
_MAX_MANIFEST_BYTES = 1 << 20  # our manifest has a few kilobytes


class DamagedError(Exception):
    """The folder is not as it was written; the message says how it differs."""


def seal(folder: Path, document: Mapping[str, Any]) -> None:
    """Writes the manifest, which includes `document`, and flushes the whole folder to the disk.

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
    """Returns the document in the folder's seal, after it has read and compared every file.

    Raises:
        DamagedError: a file is missing or changed, a name is no file, or the manifest is damaged.
    """
    document, sealed, targets = _manifest(folder)
    for name, digest in sealed.items():
        _sealed_content(folder, name, *digest)
    for name, target in targets.items():
        if not stat.S_ISLNK(_status(folder / name, name).st_mode):
            raise DamagedError(f"{name} is not as it was written")
        if os.readlink(folder / name) != target:
            raise DamagedError(f"{name} is not as it was written")
    return document


def unpacked(folder: Path, work: Path) -> dict[str, Any]:
    """Copies what the seal of `folder` names to `work`; returns the document of the seal.

    Links are made anew: an archive like a wheel holds none.

    Raises:
        DamagedError: a file is not as it was sealed.
        OSError: `work` cannot be written.
    """
    document, files, links = _manifest(folder)
    for name, digest in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(_sealed_content(folder, name, *digest))
    for name, target in links.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, work / name)
    return {key: value for key, value in document.items() if key not in (_FILES, _LINKS)}


def sealed_names(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Returns the names of files under `key` of an opened document.

    Raises:
        DamagedError: there is no such list, or a name in it is not a file of the seal.
    """
    names = document.get(key)
    if not isinstance(names, list) or not all(
        isinstance(name, str) and "/" not in name and name in document[_FILES] for name in names
    ):
        raise DamagedError(f"{MANIFEST} is not whole")
    return tuple(names)


def _manifest(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[int, str]], dict[str, str]]:
    """Returns the document, size and digest of each file, and the target of each link."""
    if not stat.S_ISDIR(_status(folder, folder.name).st_mode):
        raise DamagedError("it is not a folder")
    try:
        document = dict(json.loads(_content(folder, MANIFEST, _MAX_MANIFEST_BYTES)))
        files = {
            _plain(name): (int(one["size_bytes"]), str(one["sha256"]))
            for name, one in dict(document[_FILES]).items()
        }
        links = {_plain(name): str(target) for name, target in dict(document[_LINKS]).items()}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DamagedError(f"{MANIFEST} is not whole") from None
    return document, files, links


def _sealed_content(folder: Path, name: str, size_bytes: int, digest: str) -> bytes:
    content = _content(folder, name, size_bytes)
    if len(content) != size_bytes or hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(f"{name} is not as it was written")
    return content


def flush_to_disk(path: Path) -> None:
    """Waits until the file or folder is on the disk, so that a power failure cannot cut it.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _all_files(folder: Path) -> Iterator[Path]:
    """Yields files and links, without the manifest."""
    for inside, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(inside) / name
            if path != folder / MANIFEST:
                yield path


def _plain(name: str) -> str:
    """Returns the name if it stays within the folder.

    Raises:
        ValueError: it leads out of the folder.
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
    """Returns the bytes of a regular file, at most `most_bytes` + 1 of them."""
    path = folder / name
    if not stat.S_ISREG(_status(path, name).st_mode):
        raise DamagedError(f"{name} is not a file")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read(most_bytes + 1)
    except OSError as error:
        raise DamagedError(f"{name} cannot be read ({error.strerror})") from None
