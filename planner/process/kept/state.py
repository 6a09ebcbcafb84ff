"""The present state of what an answer depends on, as one digest.

In: Reads of the child, and its environment. Out: a digest; it changes when a file, a folder, a
variable or the place of a module does. Convention: a file of the user counts by its content, a file
of an installed package by its size, time and inode.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from planner.wire.reads import Reads, is_installed

# Larger ones (weights, data) count by size, times and inode.
_HASHED_BYTES = 8 << 20
_COARSE_CLOCK = 5  # CLOCK_REALTIME_COARSE of linux/time.h
_STANDARD = tuple(
    f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib") if sysconfig.get_path(name)
)
_METADATA = (".dist-info", ".egg-info", ".egg-link")
# They differ from one shell to the next, and say nothing of the job.
_OF_A_SHELL = frozenset(
    {"_", "SHLVL", "PWD", "OLDPWD", "COLUMNS", "LINES", "WINDOWID", "DISPLAY", "TMUX", "TMUX_PANE",
     "STY", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH_AUTH_SOCK", "XDG_SESSION_ID",
     "DBUS_SESSION_BUS_ADDRESS", "PYTEST_CURRENT_TEST"}
)  # fmt: skip


def environment_state(environment: Mapping[str, str]) -> list[str]:
    """Returns the variables and their values, without those that say nothing of a job."""
    return [f"{name}={environment[name]}" for name in sorted(environment.keys() - _OF_A_SHELL)]


class ChangedError(Exception):
    """A file has changed since the run began: it is not known what the run has read."""


def now_ns() -> int:
    """Returns the time by the clock that the kernel writes into files."""
    return time.clock_gettime_ns(_COARSE_CLOCK)


@dataclass(slots=True, kw_only=True)
class Machine:
    """Looks at files, each once. `environment` is that of the child.

    With `since_ns`, a file that has changed since then raises ChangedError.
    """

    environment: Mapping[str, str]
    since_ns: int | None = None
    _files: dict[str, str] = field(default_factory=dict)
    _names: dict[str, list[str] | None] = field(default_factory=dict)

    def state(self, reads: Reads) -> str:
        """Returns the digest of the state of `reads`.

        Raises:
            ChangedError: see `since_ns`.
        """
        digest = hashlib.sha256()
        for line in self._lines(reads):
            digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()

    def _lines(self, reads: Reads) -> Iterator[str]:
        for place in reads.modules:
            if not place.startswith(_STANDARD) or is_installed(place):
                yield f"module {place} {self._file(place)}"
        for place in reads.files:
            yield f"file {place} {self._file(place)}"
        for place in reads.looked_at:
            yield f"path {place} {self._path(place)}"
        for place in reads.folders:
            yield f"folder {place} {self._listing(place)}"
        for place in reads.distributions:
            names = [name for name in self._entries(place) if name.endswith(_METADATA)]
            yield f"distributions {place} {names}"
        for place in reads.search_path:
            yield f"search {place} {self._named(place, reads.top_level)}"
        for place, wanted in reads.in_packages:
            yield f"package {place} {self._named(place, wanted)}"
        yield from self._variables(reads)

    def _variables(self, reads: Reads) -> Iterator[str]:
        names = set(reads.variables)
        if reads.all_variables:
            names |= self.environment.keys() - _OF_A_SHELL
        for name in sorted(names):
            yield f"variable {name} {self.environment.get(name)!r}"

    def _file(self, place: str) -> str:
        found = self._files.get(place)
        if found is None:
            found = self._files[place] = self._looked_at(place)
        return found

    def _looked_at(self, place: str) -> str:
        try:
            seen = os.stat(place)
            if not stat.S_ISREG(seen.st_mode):
                return f"kind {stat.S_IFMT(seen.st_mode)}"
            self._check(seen)
            if is_installed(place):
                return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"
            if seen.st_size > _HASHED_BYTES:
                return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"
            with open(place, "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            self._check_gone(place)
            return "missing"
        except OSError as error:
            return f"unreadable {error.errno}"

    def _path(self, place: str) -> str:
        try:
            seen = os.stat(place)
        except OSError as error:
            return f"missing {error.errno}"
        if stat.S_ISREG(seen.st_mode):
            self._check(seen)
            return f"{seen.st_size} {seen.st_mtime_ns}"
        return f"kind {stat.S_IFMT(seen.st_mode)}"

    def _listing(self, place: str) -> str:
        try:
            seen = os.stat(place)
        except OSError as error:
            return f"missing {error.errno}"
        self._check(seen)
        if is_installed(f"{place}/"):
            return f"{seen.st_mtime_ns} {seen.st_ino}"
        return repr(self._entries(place))

    def _named(self, place: str, stems: Sequence[str]) -> list[str]:
        """Returns the entries of a folder that could be modules of these names."""
        wanted = frozenset(stems)
        return [name for name in self._entries(place) if name.partition(".")[0] in wanted]

    def _entries(self, place: str) -> list[str]:
        if place not in self._names:
            try:
                self._names[place] = sorted(os.listdir(place or "."))
            except OSError:
                self._names[place] = None
        return self._names[place] or []

    def _check(self, seen: os.stat_result) -> None:
        if self.since_ns is not None and max(seen.st_mtime_ns, seen.st_ctime_ns) >= self.since_ns:
            raise ChangedError

    def _check_gone(self, place: str) -> None:
        """A file that is missing now may have been there: its folder would have changed."""
        with suppress(OSError):
            self._check(os.stat(os.path.dirname(place)))
