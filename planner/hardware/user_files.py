"""Reads files that a user names, up to a limit, and only regular files.

In: a path. Out: its bytes. Convention: the kind of file is checked before it is read, because a
named pipe would wait for ever and /dev/zero would never end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def bounded_content(path: Path, most_bytes: int) -> bytes:
    """Returns the bytes of the file, or `most_bytes` + 1 of them if it is longer.

    Raises:
        OSError: it cannot be read or is no regular file; `strerror` says what it is.
    """
    mode = os.stat(path).st_mode  # first: opening a device may have effects
    if stat.S_ISREG(mode):
        # O_NONBLOCK: the open must not wait if the path has become a pipe meanwhile
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode):
                return file.read(most_bytes + 1)
    raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a file", str(path))


def _kind(mode: int) -> str:
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "a file")
