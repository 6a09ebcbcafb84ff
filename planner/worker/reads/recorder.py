"""Records what this process reads from the machine, so that an answer can be kept.

In: `begin`, before torch is imported. Out: Reads, by `taken`. Python reports each open file, listed
folder, process and connection (PEP 578); os.stat, os.lstat and os.access are replaced, because
Python does not report them. Convention: there is one recorder for a process and its forks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.wire.reads import Reads
from planner.worker.reads.modules import (
    MissingModules,
    module_files,
    names_by_folder,
    top_level_names,
)
from planner.worker.reads.variables import VariablesRead, note_variables

_IMPORTS = "<frozen importlib"
_METADATA = os.path.join("importlib", "metadata")
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_HARMLESS_PROGRAMS = frozenset({"uname", "ldconfig"})  # the platform; where libraries are
_FOLDER_EVENTS = frozenset({"os.listdir", "os.scandir"})
# Python looks for them before anything is recorded.
_AT_START = frozenset({"sitecustomize", "usercustomize"})
_UNKEPT = {
    "socket.connect": "opens a connection",
    "socket.sendto": "opens a connection",
    "socket.getaddrinfo": "looks up a host",
    "socket.gethostbyname": "looks up a host",
    "socket.gethostname": "asks for this machine's name",
    "os.system": "starts a program",
    "os.exec": "starts a program",
    "os.posix_spawn": "starts a program",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "sqlite3.connect": "reads a database",
}
# They read files in native code, which Python does not see.
_NATIVE_READERS = ("pyarrow", "h5py", "lmdb", "tables", "netCDF4", "duckdb", "polars")


@dataclass(slots=True)
class _Recorder:
    own_folders: tuple[str, ...]
    is_on: bool = True
    files: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    looked_at: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    distributions: set[str] = field(default_factory=set)
    missing: MissingModules = field(default_factory=MissingModules)
    variables: VariablesRead = field(default_factory=VariablesRead)
    unkept: str | None = None
    reported: Reads = field(default_factory=Reads)

    def place(self, path: object) -> str | None:
        """Returns a path as text from / on; None for a descriptor, and for the system's files."""
        if isinstance(path, int) or path is None:
            return None
        text = os.fsdecode(path)  # type: ignore[arg-type] # what open() has accepted
        if not text.startswith("/"):
            text = os.path.join(os.getcwd(), text)
        text = os.path.normpath(text) if ".." not in text else text
        is_own = text.startswith(self.own_folders) or text.startswith(_SYSTEM)
        return None if is_own else text

    def opened(self, path: object, flags: int, caller: str) -> None:
        place = self.place(path)
        if place is None:
            return
        is_written = bool(flags & (os.O_WRONLY | os.O_RDWR))
        if is_written and (flags & os.O_WRONLY or flags & (os.O_TRUNC | os.O_EXCL)):
            if place not in self.files:
                self.written.add(place)
            return
        is_bytecode = place.endswith(".pyc") and caller.startswith(_IMPORTS)  # of a known module
        if place not in self.written and not is_bytecode:
            self.files.add(place)

    def listed(self, path: object, caller: str) -> None:
        if caller.startswith(_IMPORTS):
            return
        place = self.place("." if path is None else path)
        if place is not None:
            (self.distributions if _METADATA in caller else self.folders).add(place)


_RECORDERS: list[_Recorder] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Takes an event of Python; see sys.addaudithook. It must not raise."""
    recorder = _RECORDERS[0]
    if not recorder.is_on:
        return
    if event == "open":
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        recorder.opened(arguments[0], flags, sys._getframe(1).f_code.co_filename)
    elif event == "ctypes.dlopen":
        if isinstance(arguments[0], str) and "/" in arguments[0]:
            recorder.opened(arguments[0], os.O_RDONLY, "")
    elif event in _FOLDER_EVENTS:
        recorder.listed(arguments[0], sys._getframe(1).f_code.co_filename)
    elif event in _UNKEPT:
        recorder.unkept = recorder.unkept or _UNKEPT[event]
    elif event == "subprocess.Popen":
        program = os.path.basename(os.fsdecode(arguments[0]))
        if program not in _HARMLESS_PROGRAMS:
            recorder.unkept = recorder.unkept or f"starts a program ({program})"


class _Noted:
    """A function of os that looks at a path; an object, so that a class can hold it."""

    def __init__(self, function: Any, recorder: _Recorder) -> None:
        self._function = function
        self._recorder = recorder
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, path: Any, *rest: Any, **named: Any) -> Any:
        recorder = self._recorder
        if recorder.is_on and not named.get("dir_fd"):
            try:
                place = recorder.place(path)
            except (TypeError, ValueError, OSError):
                place = None
            if place is not None and place not in recorder.written:
                recorder.looked_at.add(place)
        return self._function(path, *rest, **named)


def begin(compiled: str | None = None) -> None:
    """Begins to record. It cannot be ended, only paused.

    `compiled` is a folder of planner for what the compiler makes: nothing in it is a dependency.
    """
    own = [str(Path(__file__).parents[2]), *([] if compiled is None else [compiled])]
    recorder = _Recorder(own_folders=tuple(f"{folder}/" for folder in own))
    _RECORDERS.append(recorder)
    for name in ("stat", "lstat", "access"):
        function = getattr(os, name)
        noted = _Noted(function, recorder)
        for kinds in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if function in kinds:
                kinds.add(noted)
        if function in os.supports_effective_ids:
            os.supports_effective_ids.add(noted)
        setattr(os, name, noted)
    sys.meta_path.append(recorder.missing)
    note_variables(recorder.variables)
    sys.addaudithook(_hook)


def forgive() -> None:
    """Forgets reasons not to keep an answer: until now only torch was imported."""
    for recorder in _RECORDERS:
        recorder.unkept = None


@contextmanager
def paused() -> Iterator[None]:
    """Records nothing meanwhile: what planner itself does is no dependency."""
    for recorder in _RECORDERS:
        recorder.is_on = False
    try:
        yield
    finally:
        for recorder in _RECORDERS:
            recorder.is_on = True


def taken() -> Reads | None:
    """Returns what was read since the last call; None where nothing is recorded."""
    if not _RECORDERS:
        return None
    recorder = _RECORDERS[0]
    with paused():
        found = _all_reads(recorder)
        news = _without(found, recorder.reported)
        recorder.reported = found
    return news


def _all_reads(recorder: _Recorder) -> Reads:
    modules = {
        name: file
        for name, file in module_files().items()
        if not file.startswith(recorder.own_folders)
    }
    by_folder = names_by_folder(modules)
    for folder, names in recorder.missing.in_packages.items():
        by_folder.setdefault(folder, set()).update(names)
    native = [name for name in _NATIVE_READERS if name in sys.modules]
    reader = f"imports {native[0]}, which reads files in native code" if native else None
    files = recorder.files - set(modules.values())
    return Reads(
        modules=tuple(sorted(set(modules.values()))),
        files=tuple(sorted(files)),
        looked_at=tuple(sorted(recorder.looked_at - files - set(modules.values()))),
        folders=tuple(sorted(recorder.folders)),
        search_path=tuple(str(entry) for entry in sys.path),
        top_level=tuple(sorted(top_level_names() | recorder.missing.names | _AT_START)),
        distributions=tuple(sorted(recorder.distributions)),
        in_packages=tuple(
            (folder, tuple(sorted(names)))
            for folder, names in sorted(by_folder.items())
            if not f"{folder}/".startswith(recorder.own_folders)
        ),
        variables=tuple(sorted(recorder.variables.names)),
        all_variables=recorder.variables.all,
        unkept=recorder.unkept or reader,
    )


def _without(found: Reads, before: Reads) -> Reads:
    """Returns what `found` has more than `before`."""
    known = dict(before.in_packages)
    in_packages = tuple(
        (folder, tuple(name for name in names if name not in known.get(folder, ())))
        for folder, names in found.in_packages
    )
    top_level = _more(found.top_level, before.top_level)
    return Reads(
        modules=_more(found.modules, before.modules),
        files=_more(found.files, before.files),
        looked_at=_more(found.looked_at, before.looked_at),
        folders=_more(found.folders, before.folders),
        search_path=found.search_path if top_level else (),
        top_level=top_level,
        distributions=_more(found.distributions, before.distributions),
        in_packages=tuple((folder, names) for folder, names in in_packages if names),
        variables=_more(found.variables, before.variables),
        all_variables=found.all_variables,
        unkept=found.unkept,
    )


def _more(found: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    known = set(before)
    return tuple(one for one in found if one not in known)
