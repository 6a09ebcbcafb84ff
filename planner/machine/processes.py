"""Finds the processes that belong to a child, and ends them all.

In: process numbers. Out: no process of a session or of a family is left alive. Convention: only
the present content of /proc counts. A zombie is dead but still the parent of its children. The
first thread of a process may have ended while others go on: the process then shows as a zombie.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Processes that do not end are killed again for this time: returning gigabytes takes a while.
PATIENCE_S = 10.0
_PAUSE_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEntry:
    """One process as /proc shows it; `is_zombie`: it, or its first thread, has ended."""

    pid: int
    parent: int
    session: int
    is_zombie: bool


def living_processes() -> list[ProcessEntry]:
    """Returns every living process in /proc, without zombies."""
    return [entry for entry in _processes() if not entry.is_zombie]


def session_members(session: int) -> list[int]:
    """Returns the living processes of a session."""
    return [entry.pid for entry in living_processes() if entry.session == session]


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """Kills every process of the session that `leader` leads, and waits for the leader."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        members = session_members(leader.pid)
        for pid in members:
            kill(pid, signal.SIGKILL)
        if leader.poll() is None:
            kill(leader.pid, signal.SIGKILL)
            leader.wait()
        if not members:
            return
        time.sleep(_PAUSE_S)


def terminate_children() -> None:
    """Sends SIGTERM to each child of this process; does not wait for them."""
    for entry in living_processes():
        if entry.parent == os.getpid():
            kill(entry.pid, signal.SIGTERM)


def end_family() -> None:
    """Kills and reaps every descendant of this process and every other member of its session.

    None can escape if this process is the subreaper of the processes that it started.
    """
    _end_all(lambda: _family(os.getpid(), os.getsid(0)))


def end_descendants() -> None:
    """Kills and reaps every descendant of this process, which is their subreaper."""
    if _has_children():  # without children there are no descendants: a subreaper inherits them
        _end_all(lambda: _family(os.getpid(), None))


def _end_all(members: Callable[[], list[ProcessEntry]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = members()
        for entry in found:
            kill(entry.pid, signal.SIGKILL)  # in a zombie this ends threads that still run
        reap_all()
        if not _has_children() and all(entry.is_zombie for entry in found):
            return
        time.sleep(_PAUSE_S)


def reap_all() -> dict[int, int]:
    """Collects every child of this process that has ended; returns wait statuses by number."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def kill(pid: int, number: int) -> None:
    """Sends a signal to a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _family(ancestor: int, session: int | None) -> list[ProcessEntry]:
    """Returns the descendants of `ancestor` and the members of the session."""
    entries = _processes()
    family = {ancestor}
    while True:
        found = {
            entry.pid
            for entry in entries
            if entry.pid not in family and (entry.parent in family or entry.session == session)
        }
        if not found:
            return [entry for entry in entries if entry.pid in family - {ancestor}]
        family |= found


def _processes() -> list[ProcessEntry]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            # pid (name, which may hold anything) state ppid pgrp session ...
            text = Path("/proc", name, "stat").read_text(errors="replace")
        except OSError:
            continue  # it ended while we looked
        state, parent, _, session, *_ = text.rpartition(")")[2].split()
        found.append(
            ProcessEntry(
                pid=int(name),
                parent=int(parent),
                session=int(session),
                is_zombie=state in ("Z", "X"),
            )
        )
    return found
