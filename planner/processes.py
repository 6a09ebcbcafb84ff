"""Which processes belong to a child, and how to end them all.

In: process numbers. Out: nothing of a session or a family of processes is left alive. Convention:
what counts is /proc at this moment; zombies are dead and only wait for their parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 5.0  # a killed process with gigabytes to give back is listed for a while
_PAUSE_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEntry:
    """One living process as /proc shows it."""

    pid: int
    parent: int
    session: int


def living_processes() -> list[ProcessEntry]:
    """Every living process that /proc shows; zombies are left out."""
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
        if state not in ("Z", "X"):
            found.append(ProcessEntry(pid=int(name), parent=int(parent), session=int(session)))
    return found


def session_members(session: int) -> list[int]:
    """Living processes of a session."""
    return [entry.pid for entry in living_processes() if entry.session == session]


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """Kills every process of the session that `leader` leads, and waits for the leader."""
    deadline = time.monotonic() + _PATIENCE_S
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


def end_family() -> None:
    """Kills and reaps every descendant of this process and every other member of its session.

    Complete when this process is the subreaper of what it started: none can escape it then.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        members = _family(os.getpid())
        for pid in members:
            kill(pid, signal.SIGKILL)
        reap_all()
        if not members:
            return
        time.sleep(_PAUSE_S)


def reap_all() -> dict[int, int]:
    """Collects every child of this process that has ended; its wait status by process number."""
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
    """Sends a signal to a process that may have gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _family(ancestor: int) -> list[int]:
    entries = living_processes()
    session = os.getsid(0)
    family = {ancestor}
    while True:
        found = {
            entry.pid
            for entry in entries
            if entry.pid not in family and (entry.parent in family or entry.session == session)
        }
        if not found:
            return sorted(family - {ancestor})
        family |= found
