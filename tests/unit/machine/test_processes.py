"""Ending families of processes, with real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from planner.machine.processes import living_processes

# A subreaper that ends its family, in a process of its own: pytest's must not inherit anything.
_ENDS = """
import subprocess, sys, time
from planner.machine.processes import end_descendants, end_family, living_processes
from planner.machine.parentage import inherit_orphans
inherit_orphans()
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], start_new_session=True)
time.sleep(1.0)
{"family": end_family, "descendants": end_descendants}[sys.argv[1]]()
"""
# Its first thread ends, a second goes on: a zombie in /proc, and the parent of a living process.
_ZOMBIE_LEADER = """
import ctypes, subprocess, threading, time
subprocess.Popen(["sleep", "MARK"], start_new_session=True)
threading.Thread(target=time.sleep, args=(300,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
_DAEMON = """
import os, subprocess
if os.fork() == 0:
    os.setsid()
    subprocess.Popen(["sleep", "MARK"])
    os._exit(0)
"""
_MANY = """
import os, time
def grow(n):
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if n: grow(n - 1)
            os.execvp("sleep", ["sleep", "MARK"])
grow(4)
"""


def _mark(number: int) -> str:
    """A time to sleep that no other test run on this machine has."""
    return f"{300 + number}.{os.getpid()}"


def _left(which: str, code: str, mark: str) -> list[int]:
    command = [sys.executable, "-c", _ENDS, which, code.replace("MARK", mark)]
    subprocess.run(  # in a session of its own: the whole session is ended
        command, check=True, timeout=60, stdin=subprocess.DEVNULL, start_new_session=True
    )
    return [entry.pid for entry in living_processes() if mark in _command_line(entry.pid)]


def _command_line(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_children_of_a_process_whose_first_thread_has_ended() -> None:
    assert _left("family", _ZOMBIE_LEADER, _mark(1)) == []
    assert _left("descendants", _ZOMBIE_LEADER, _mark(2)) == []


def test_daemons() -> None:
    assert _left("family", _DAEMON, _mark(3)) == []
    assert _left("descendants", _DAEMON, _mark(4)) == []


def test_many_that_fork_while_they_are_killed() -> None:
    assert _left("descendants", _MANY, _mark(5)) == []


def test_the_check_would_see_what_is_left() -> None:
    mark = _mark(6)
    left = subprocess.Popen(["sleep", mark])
    try:
        deadline = time.monotonic() + 10
        while _mark(6) not in _command_line(left.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _mark(6) in _command_line(left.pid)
        assert left.pid in [entry.pid for entry in living_processes()]
    finally:
        left.kill()
        left.wait()
    assert left.pid not in [entry.pid for entry in living_processes()]


def test_children_alone_are_asked_to_end() -> None:
    program = (
        "import subprocess, sys\n"
        "from planner.machine.processes import terminate_children\n"
        "own = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        "terminate_children()\n"
        "print(own.wait(timeout=30))"
    )
    with subprocess.Popen(["sleep", "300"]) as other:  # of this process, not of that one
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
        )
        assert other.poll() is None
        other.kill()
    assert done.stdout == "-15\n"
