"""Keeps built devices in the user's cache folder: private, atomic, safe for several processes.

In: a key and a function that fills a folder. Out: that folder, complete or not there at all.
The folder holds libraries that are loaded into a process. So no other user may be able to write to
it or to a folder above it, and a build that has changed since it was written is not used.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from planner.emulator.sealed import flush_to_disk, opened_seal, seal
from planner.errors import BuildError
from planner.machine.private_folders import WeakFolder, made_private, make_folder, weak_part

VARIABLE = "VRAM_PLANNER_CACHE"
_LOCK_WAIT_S = 300.0
# g++ 12 took at most 3.3 MB for torch 2.14.1 (objects, headers); 2.3 MB remain.
NEEDED_BYTES = 10 * 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCache:
    """The folder `folder`, owned by this user with mode 0700."""

    folder: Path

    @staticmethod
    def open() -> DeviceCache:
        """Opens or creates the cache at $VRAM_PLANNER_CACHE, else in the user's cache folder.

        Raises:
            BuildError: it cannot be created or written, or another user could write to it.
        """
        folder = cache_folder()
        try:
            root = made_private(folder.parent)
            if isinstance(root, WeakFolder):
                raise BuildError(_weak(folder, root))
            folder = root / folder.name
            make_folder(folder)
            mode = _checked_mode(folder)
        except OSError as error:
            raise BuildError(_unusable(folder, error.strerror or str(error))) from error
        if mode & 0o077:
            os.chmod(folder, 0o700)
        return DeviceCache(folder=folder)

    @staticmethod
    def existing() -> DeviceCache | None:
        """Returns the cache as it is, None if there is none yet. Creates and changes nothing.

        Raises:
            BuildError: it cannot be used, for one of the reasons of `open`.
        """
        folder = cache_folder()
        try:
            weak = weak_part(folder.parent)
            if weak is not None:
                raise BuildError(_weak(folder, weak))
            if not os.path.lexists(folder):
                return None
            _checked_mode(folder)
        except OSError as error:
            raise BuildError(_unusable(folder, error.strerror or str(error))) from error
        return DeviceCache(folder=folder)

    def opened(self, key: str) -> dict[str, Any] | None:
        """Returns the document in the seal of this key's build; None if there is no build.

        Raises:
            DamagedError: the build is not as it was written.
        """
        if not os.path.lexists(self.folder / key):
            return None
        return opened_seal(self.folder / key)

    def discard(self, key: str) -> None:
        """Removes a damaged build, also if a file or a link is in its place.

        The caller holds the lock of this key.

        Raises:
            BuildError: it cannot be removed.
        """
        target = self.folder / key
        try:
            if target.is_symlink() or not target.is_dir():
                target.unlink(missing_ok=True)
                return
            moved = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=self.folder))
            os.rename(target, moved / "damaged")
            shutil.rmtree(moved, ignore_errors=True)
        except OSError as error:
            raise BuildError(_unusable(self.folder, error.strerror or str(error))) from error

    @contextmanager
    def lock(self, key: str, progress: Callable[[str], None]) -> Iterator[None]:
        """Holds the lock of a build; reports it if it has to wait for another process.

        Raises:
            BuildError: the folder is not writable, or the other process takes too long.
        """
        from filelock import FileLock, Timeout  # a device that is built already needs no lock

        lock = FileLock(self.folder / f"{key}.lock")
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress("waiting for another process that builds the emulated device")
                lock.acquire(timeout=_LOCK_WAIT_S)
        except Timeout:
            raise BuildError(
                f"another process has been building the emulated device for {_LOCK_WAIT_S:.0f} s; "
                f"if none is running, delete {lock.lock_file}"
            ) from None
        except OSError as error:
            raise BuildError(_unusable(self.folder, error.strerror or str(error))) from error
        try:
            yield
        finally:
            lock.release()

    def store(self, key: str, fill: Callable[[Path], Mapping[str, Any]]) -> None:
        """Runs `fill` on a fresh folder and moves it into place; a failure leaves nothing behind.

        The document that `fill` returns is sealed in; the folder is on the disk before the move.

        The caller holds the lock of this key.

        Raises:
            BuildError: the disk is full or the folder cannot be written.
        """
        target = self.folder / key
        prefix = f".{key}-"
        work: Path | None = None
        try:
            for abandoned in self.folder.glob(f"{prefix}*"):  # left by a process that was killed
                shutil.rmtree(abandoned, ignore_errors=True)
            if free_bytes(self.folder) < NEEDED_BYTES:
                raise full_disk(self.folder)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder))
            seal(work, fill(work))
            os.rename(work, target)
            flush_to_disk(self.folder)
        except OSError as error:
            if target.is_dir():  # built meanwhile by a process that does not share our locks
                return
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise full_disk(self.folder) from error
            raise BuildError(_unusable(self.folder, error.strerror or str(error))) from error
        finally:
            if work is not None and work.exists():
                shutil.rmtree(work, ignore_errors=True)


def _checked_mode(folder: Path) -> int:
    """Returns the mode of the cache folder itself.

    Raises:
        BuildError: it is not a folder, not of this user, or others may write to it.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise BuildError(_unusable(folder, "it is not a folder"))
    if found.st_uid != os.getuid():
        raise BuildError(_unusable(folder, f"it belongs to user {found.st_uid}, not to you"))
    if found.st_mode & 0o022:
        raise BuildError(
            _unusable(folder, "others may write to it, and what it holds is loaded as code")
        )
    return found.st_mode


def cache_folder() -> Path:
    """Returns the folder of builds: below $VRAM_PLANNER_CACHE, else the user's cache folder."""
    chosen = os.environ.get(VARIABLE)
    root = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("vram-planner"))
    return root / "device"


def free_bytes(folder: Path) -> int:
    """Returns the bytes that this user may still write on the disk of a folder.

    Raises:
        OSError: there is no such folder.
    """
    return shutil.disk_usage(folder).free


def full_disk(folder: Path) -> BuildError:
    """Returns the error for a disk without room for a build."""
    return BuildError(
        f"the disk that holds {folder} is full: building the emulated device needs about "
        f"{NEEDED_BYTES // 10**6} MB there; free some or set {VARIABLE} to another folder"
    )


def _weak(folder: Path, weak: WeakFolder) -> str:
    cure = f"run {weak.cure}, or " if weak.cure else ""
    return (
        f"the cache folder {folder} cannot be used: {weak.folder} above it is not safe: "
        f"{weak.reason}, and what the cache holds is loaded as code; {cure}"
        f"set {VARIABLE} to a folder of your own"
    )


def _unusable(folder: Path, reason: str) -> str:
    return (
        f"the cache folder {folder} cannot be used: {reason}; "
        f"set {VARIABLE} to a folder of your own"
    )
