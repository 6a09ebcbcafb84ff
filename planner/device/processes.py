"""Ends a child and whatever it started.

In: a process that leads a session of its own. Out: nothing of that session is left alive.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

_ROUNDS = 50  # each round kills all that is seen; more are needed only while something still forks


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kills every process of the session that `process` leads, and waits for the leader."""
    for _ in range(_ROUNDS):
        members = session_members(process.pid)
        for pid in members:
            _kill(pid)
        if process.poll() is None:
            _kill(process.pid)
            process.wait()
        if not members:
            return


def session_members(session: int) -> list[int]:
    """Living processes of a session, from /proc; zombies are not counted."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # pid (name, which may hold anything) state ppid pgrp session ...
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[3]) == session and fields[0] not in ("Z", "X"):
            members.append(int(entry.name))
    return members


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
