"""Writes outside a few folders fail, by Landlock: for kernels that allow no namespaces.

In: this process before it becomes the script. Out: the same process, and all that it starts, can
write below the given folders alone, and to no card.
Source: docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
# Not all of /dev: a real card is opened for writing too.
_DEVICES = tuple(
    Path("/dev", name)
    for name in ("null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm")
)
_OF_VERSION_1 = (1 << 13) - 1
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


def version() -> int:
    """Returns the version of Landlock that this kernel has; 0: none."""
    try:
        return _system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    except OSError:
        return 0


def allow_writes_below(folders: Sequence[Path]) -> None:
    """Lets this process, from now on, write below `folders` and to plain devices alone.

    Raises:
        OSError: this kernel has no Landlock, or refuses it.
    """
    found = version()
    if not found:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    every = _OF_VERSION_1 | (_REFER if found >= 2 else 0) | (_TRUNCATE if found >= 3 else 0)
    rules = _system_call(_CREATE_RULESET, struct.pack("Q", every), ctypes.c_size_t(8), 0)
    try:
        _add(rules, Path("/"), _EXECUTE | _READ_FILE | _READ_DIR)
        for folder in (*folders, *(one for one in _DEVICES if one.exists())):
            _add(rules, folder, every if folder.is_dir() else every & _OF_FILES)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _system_call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _add(rules: int, path: Path, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _system_call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        os.close(descriptor)


def _system_call(number: int, *arguments: object) -> int:
    result = int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
