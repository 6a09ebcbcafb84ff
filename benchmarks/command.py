"""Run a whole command once: in, its arguments; out, how it ended and what it left behind.

Each run has a mark in its environment, which every process inherits, and an empty TMPDIR.
Convention: a fault is a sentence; no fault is an empty tuple.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.machine.processes import living_processes

ROOT = Path(__file__).resolve().parent.parent
MARK = "VRAM_PLANNER_BENCHMARK_MARK"
# Killed processes need a moment to end.
SETTLING_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one command ended."""

    arguments: tuple[str, ...]
    code: int  # as subprocess has it: negative for a signal
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool  # it was ended by us
    processes_left: tuple[str, ...]  # "pid command", alive when the command had ended
    files_left: tuple[str, ...]  # in its TMPDIR


def run_command(
    arguments: Sequence[str],
    *,
    limit_s: float,
    module: str = "planner",
    checkout: Path = ROOT,
    niceness: int = 0,
) -> Ended:
    """Runs `python -m MODULE ARGUMENTS` in a checkout; ends its processes, removes its files."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="planner-run-", ignore_cleanup_errors=True) as folder:
        begun = time.monotonic()
        process = subprocess.Popen(
            ["nice", "-n", str(niceness), sys.executable, "-m", module, *arguments],
            cwd=checkout,
            env={**os.environ, MARK: mark, "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        stdout, stderr, timed_out = _output(process, mark, limit_s)
        seconds = time.monotonic() - begun
        time.sleep(SETTLING_S)
        left = _end_marked(mark)
        files = tuple(sorted(os.listdir(folder)))
    return Ended(
        arguments=tuple(arguments),
        code=process.returncode,
        stdout=stdout.decode(errors="backslashreplace"),
        stderr=stderr.decode(errors="backslashreplace"),
        seconds=seconds,
        timed_out=timed_out,
        processes_left=left,
        files_left=files,
    )


def end_on_signals() -> None:
    """Makes SIGTERM and SIGINT end a benchmark as Ctrl-C does: with its processes and files.

    SIGINT is set too because a shell starts background commands with SIGINT ignored.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)


def _interrupted(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _output(
    process: subprocess.Popen[bytes], mark: str, limit_s: float
) -> tuple[bytes, bytes, bool]:
    """Returns stdout, stderr, and whether its processes had to be ended at the limit."""
    try:
        return *process.communicate(timeout=limit_s), False
    except subprocess.TimeoutExpired:
        _end_marked(mark)
        return *process.communicate(), True
    except BaseException:  # Ctrl-C here: nothing of the run may stay
        _end_marked(mark)
        raise


def marked_processes(mark: str) -> dict[int, str]:
    """Returns the command lines of all living processes with the mark in their environment."""
    found = {}
    for entry in living_processes():
        folder = Path("/proc", str(entry.pid))
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[entry.pid] = line.decode(errors="replace")[:80].strip()
    return found


def _end_marked(mark: str, tries: int = 20) -> tuple[str, ...]:
    """Ends the processes with the mark; returns those that were there at first."""
    first = marked_processes(mark)
    left = first
    while left and tries:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        left, tries = marked_processes(mark), tries - 1
    return tuple(f"{pid} {line}" for pid, line in sorted(first.items()))


def faults(ended: Ended, *, codes: Collection[int], says: str = "") -> tuple[str, ...]:
    """Returns the faults of a run.

    Args:
        ended: The run.
        codes: The exit codes that are right.
        says: A regular expression that stderr must match when the code is 1 or 2.
    """
    error = ended.code in (1, 2)
    wrong = (
        ("no answer in the time", ended.timed_out),
        (f"exit code {ended.code}", ended.code not in codes and not ended.timed_out),
        ("a traceback of planner", _has_traceback(ended.stderr)),
        ("stdout not empty with an error", error and bool(ended.stdout)),
        ("no message", error and not ended.stderr.strip()),
        (f"the message has not {says!r}", error and not re.search(says, ended.stderr)),
        ("an escape on the terminal", "\x1b" in ended.stdout + ended.stderr),
        (f"processes left: {ended.processes_left[:3]}", bool(ended.processes_left)),
        (f"files left: {ended.files_left[:3]}", bool(ended.files_left)),
    )  # fmt: skip
    trouble = _json_trouble(ended)
    return (*(text for text, applies in wrong if applies), *([trouble] if trouble else []))


def _has_traceback(stderr: str) -> bool:
    """Returns whether a traceback has a frame of planner's own files."""
    begun = stderr.find("Traceback (most recent call last)")
    return begun >= 0 and bool(re.search(r'File "[^"]*/planner/(?!tests)', stderr[begun:]))


def _json_trouble(ended: Ended) -> str:
    """Returns why stdout is not strict JSON; empty if it is, or if it need not be."""
    if ended.timed_out or ended.code not in (0, 3, 4):
        return ""
    if not ended.stdout.strip():
        return "an answer without a report"
    if "--json" not in ended.arguments:
        return ""
    try:
        json.loads(ended.stdout, parse_constant=_refused)
    except ValueError as error:
        return f"not strict JSON: {error}"
    return ""


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
