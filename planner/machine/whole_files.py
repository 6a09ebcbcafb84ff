"""Writes the files of commands: completely, or not at all.

In: a path that the user named, text or bytes. Out: the file. Convention: the path is checked before
the work begins; a later failure names the file and leaves everything else as it was.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from planner.errors import OutputError, UsageError

_PRIVATE, _PUBLIC = 0o600, 0o666  # the system takes the umask off


def check_place(file: Path, option: str) -> None:
    """Checks before the work, which may take an hour, that the file can be written.

    Raises:
        UsageError: its folder is missing, or it may not be written; names `option`.
    """
    folder = file.parent
    if not folder.is_dir():
        raise UsageError(f"{option} {file}: there is no folder {folder}; create it first")
    if _is_replaced(file):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{option} {file}: the folder {folder} may not be written")
    elif file.is_dir():
        raise UsageError(f"{option} {file}: it is a folder; name a file")
    elif not os.access(file if file.exists() else file.resolve().parent, os.W_OK):
        raise UsageError(f"{option} {file}: it may not be written")


def write_whole(file: Path, content: str | bytes, *, is_private: bool = False) -> None:
    """Writes all of the content or nothing: the old file stays until the new one is complete.

    An existing file keeps its mode. A path that is not a regular file, like /dev/stdout, is
    written to directly.

    Raises:
        OutputError: the disk is full, or the file may not be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if _is_replaced(file):
            _replace(file, data, is_private=is_private)
        else:
            file.write_bytes(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        kept = "; what was there before is unchanged" if _is_replaced(file) else ""
        raise OutputError(
            f"{file} could not be written: {error.strerror or error}{kept}"
        ) from error


def _is_replaced(file: Path) -> bool:
    """Returns whether a new file replaces this path: not a link, a pipe or a terminal."""
    return not file.is_symlink() and (file.is_file() or not file.exists())


def _replace(file: Path, data: bytes, *, is_private: bool) -> None:
    before = file.stat() if file.exists() else None
    draft = file.parent / f".planner-{os.urandom(8).hex()}"
    mode = _PRIVATE if is_private or before is not None else _PUBLIC
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "wb") as stream:
            if before is not None and not is_private:
                os.fchmod(stream.fileno(), stat.S_IMODE(before.st_mode) & 0o777)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, file)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
