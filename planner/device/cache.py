"""The user's cache folder for built devices: private, atomic, safe for several processes.

In: a key and a function that fills a folder. Out: that folder, complete or not there at all.
The folder holds libraries that are loaded into a process, so nobody else may be able to write it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from planner.errors import BuildError

VARIABLE = "VRAM_PLANNER_CACHE"
_LOCK_WAIT_S = 300.0
_NEEDED_MB = 20  # objects and headers while it is built; 2 MB remain


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCache:
    """The folder `folder`, owned by this user with mode 0700."""

    folder: Path

    @staticmethod
    def open() -> DeviceCache:
        """The cache at $VRAM_PLANNER_CACHE, else in the user's cache folder; created if needed.

        Raises:
            BuildError: it cannot be created or written, or somebody else could write it.
        """
        chosen = os.environ.get(VARIABLE)
        root = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("vram-planner"))
        folder = root / "device"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
        except OSError as error:
            raise BuildError(_unusable(folder, error.strerror or str(error))) from error
        if not stat.S_ISDIR(found.st_mode):
            raise BuildError(_unusable(folder, "it is not a folder"))
        if found.st_uid != os.getuid():
            raise BuildError(_unusable(folder, f"it belongs to user {found.st_uid}, not to you"))
        if found.st_mode & 0o022:
            raise BuildError(
                _unusable(folder, "others may write to it, and what it holds is loaded as code")
            )
        if found.st_mode & 0o077:
            os.chmod(folder, 0o700)
        return DeviceCache(folder=folder)

    def find(self, key: str) -> Path | None:
        """The complete build of this key; None when there is none."""
        folder = self.folder / key
        return folder if folder.is_dir() else None

    @contextmanager
    def lock(self, key: str, progress: Callable[[str], None]) -> Iterator[None]:
        """Held while one process builds; says so when it has to wait for another.

        Raises:
            BuildError: the folder is not writable, or the other process takes too long.
        """
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

    def store(self, key: str, fill: Callable[[Path], None]) -> Path:
        """Runs `fill` on a fresh folder and moves it into place; a failure leaves nothing behind.

        The caller holds the lock of this key.

        Raises:
            BuildError: the disk is full or the folder cannot be written.
        """
        target = self.folder / key
        prefix = f".{key}-"
        work: Path | None = None
        try:
            for abandoned in self.folder.glob(f"{prefix}*"):  # by a process that was killed
                shutil.rmtree(abandoned, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder))
            fill(work)
            os.rename(work, target)
        except OSError as error:
            if target.is_dir():  # built meanwhile by a process that shares no locks with this one
                return target
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise full_disk(self.folder) from error
            raise BuildError(_unusable(self.folder, error.strerror or str(error))) from error
        finally:
            if work is not None and work.exists():
                shutil.rmtree(work, ignore_errors=True)
        return target


def full_disk(folder: Path) -> BuildError:
    """The error of a build that found no room."""
    return BuildError(
        f"the disk that holds {folder} is full: building the emulated device needs about "
        f"{_NEEDED_MB} MB there; free some or set {VARIABLE} to another folder"
    )


def _unusable(folder: Path, reason: str) -> str:
    return (
        f"the cache folder {folder} cannot be used: {reason}; "
        f"set {VARIABLE} to a folder of your own"
    )
