"""Builds the replay in native code once, into the cache of the emulated devices, and loads it.

In: the sources in native/replay/ and a C++ compiler. Out: the library; None where it cannot be had,
and the replay in Python gives the same figures. Convention: it needs neither torch nor CUDA.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from pathlib import Path

from planner.emulator.build import find_compiler, run_tool
from planner.emulator.cache import DeviceCache
from planner.emulator.prebuilt import taken
from planner.emulator.sealed import DamagedError
from planner.errors import BuildError, UnsupportedPlatformError

NATIVE = Path(__file__).parent / "native" / "replay"
_LIBRARY = "libplanner_replay.so"
_OPTIONS = (
    "-std=c++17", "-O2", "-w", "-s", "-shared", "-fPIC", "-fvisibility=hidden",
    "-Wl,--exclude-libs,ALL",
)  # fmt: skip
# The libstdc++ of this process may be older than the compiler's (conda).
_STATIC = ("-static-libstdc++", "-static-libgcc")
_POINTER = ctypes.c_void_p


class _Opened:
    """The library of this process, looked for once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_known = False
        self._library: ctypes.CDLL | None = None

    def library(self) -> ctypes.CDLL | None:
        """Returns the library; builds it where the cache has none."""
        if not self._is_known:
            with self._lock:
                if not self._is_known:
                    self._library = _loaded()
                    self._is_known = True
        return self._library


_OPENED = _Opened()
library = _OPENED.library


def library_key() -> str:
    """Returns the name of the build in the cache: a hash of its sources and of this file."""
    digest = hashlib.sha256()
    for path in [*sorted(NATIVE.iterdir()), Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"replay-{digest.hexdigest()[:16]}"


def _loaded() -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(str(_built() / _LIBRARY))
    except (BuildError, UnsupportedPlatformError, DamagedError, OSError):
        return None  # what is wrong with the cache is said where the device is built in it
    found.planner_replay.argtypes = (_POINTER, _POINTER, _POINTER)
    return found


def _built() -> Path:
    """Returns the folder of the build.

    Raises:
        UnsupportedPlatformError: there is no compiler.
        BuildError: the cache cannot be used, or compiling failed.
        DamagedError: the build is not as it was written.
    """
    cache, key = DeviceCache.open(), library_key()
    if not _is_whole(cache, key):
        with cache.lock(key, lambda _: None):
            if not _is_whole(cache, key):
                cache.discard(key)
                cache.store(key, lambda work: taken(key, work) or build_library(work))
        cache.opened(key)
    return cache.folder / key


def _is_whole(cache: DeviceCache, key: str) -> bool:
    try:
        return cache.opened(key) is not None
    except DamagedError:
        return False


def build_library(work: Path) -> dict[str, str]:
    """Compiles the library into the folder `work`; returns the content of its manifest.

    Raises:
        UnsupportedPlatformError: there is no compiler.
        BuildError: compiling failed.
        OSError: the disk is full.
    """
    compiler = find_compiler()
    command: list[str | Path] = [
        compiler,
        *_OPTIONS,
        *sorted(NATIVE.glob("*.cpp")),
        "-o",
        work / _LIBRARY,
    ]
    try:
        run_tool([*command, *_STATIC])
    except BuildError:
        run_tool(command)
    return {"library": _LIBRARY}
