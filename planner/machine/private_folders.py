"""Makes and checks folders that only this user may change, from / down as sshd does.

In: a path. Out: the folder without links in its path, created if it was missing; or the part of
its path that another user could change. Convention: root is trusted; a folder that others may
write is accepted only with the sticky bit, because users then cannot move files of others.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_ROOT = 0
_MODE = 0o700
_UID_MAP = Path("/proc/self/uid_map")
_OVERFLOW_UID = Path("/proc/sys/kernel/overflowuid")
_ALL_USERS = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakFolder:
    """The unsafe part `folder` of a path, the reason, and the command that repairs it, if any."""

    folder: Path
    reason: str
    cure: str | None = None


def made_private(path: Path) -> Path | WeakFolder:
    """Returns the folder at `path` with all links resolved; creates missing ones with mode 0700.

    If others could change a part of the path, returns that part and creates nothing below it.

    Raises:
        OSError: a folder cannot be created or read.
    """
    resolved = Path(os.path.realpath(path))
    return _first_weak(resolved, create=True) or resolved


def weak_part(path: Path) -> WeakFolder | None:
    """Returns the part of a path that others could change, as far as the path exists.

    Creates nothing; returns None if all existing parts are safe.

    Raises:
        OSError: a folder cannot be read.
    """
    return _first_weak(Path(os.path.realpath(path)), create=False)


def make_folder(folder: Path) -> None:
    """Creates the folder and each missing folder above it, with mode 0700.

    Raises:
        OSError: it cannot be created.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    try:
        folder.mkdir(mode=_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise


def _first_weak(resolved: Path, *, create: bool) -> WeakFolder | None:
    """Returns the first weak part from / down; without `create` only among existing folders."""
    is_shared = False  # whether all may create folders in the one above
    for folder in [*reversed(resolved.parents), resolved]:
        if create:
            make_folder(folder)
        elif not os.path.lexists(folder):
            return None
        found = folder.lstat()
        weak = _weakness(folder, found, below_shared=is_shared)
        if weak is not None:
            return weak
        is_shared = bool(found.st_mode & 0o022) and bool(found.st_mode & stat.S_ISVTX)
    return None


def _weakness(folder: Path, found: os.stat_result, *, below_shared: bool) -> WeakFolder | None:
    if not stat.S_ISDIR(found.st_mode):
        return WeakFolder(folder=folder, reason="it is not a folder")
    owner, user = found.st_uid, os.getuid()
    if owner != user and (below_shared or owner not in _trusted_users()):
        return WeakFolder(folder=folder, reason=f"it belongs to user {owner}, not to you")
    if found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & stat.S_IWOTH:
        return WeakFolder(
            folder=folder, reason="others may write to it", cure=f"chmod go-w {folder}"
        )
    if found.st_mode & stat.S_IWGRP and not _is_private_group(found):
        return WeakFolder(
            folder=folder, reason="its group may write to it", cure=f"chmod g-w {folder}"
        )
    return None


def _trusted_users() -> frozenset[int]:
    """Returns this user and root; in a rootless container root has the overflow number."""
    trusted = {os.getuid(), _ROOT}
    try:
        mapped = sum(int(line.split()[2]) for line in _UID_MAP.read_text().splitlines())
        if mapped < _ALL_USERS:
            trusted.add(int(_OVERFLOW_UID.read_text()))
    except (OSError, ValueError, IndexError):
        pass  # no /proc: handled as outside a container
    return frozenset(trusted)


def _is_private_group(found: os.stat_result) -> bool:
    """Returns whether only the owner is in the group, as distributions set it up (umask 002)."""
    import grp  # not on Windows, where `planner gpus` works too
    import pwd

    try:
        user, group = pwd.getpwuid(found.st_uid), grp.getgrgid(found.st_gid)
    except KeyError:
        return False
    return (
        user.pw_gid == group.gr_gid
        and user.pw_name == group.gr_name
        and not set(group.gr_mem) - {user.pw_name}
    )
