"""Runs a job in a process of its own, on whatever machine an executor calls this.

In: the JSON of a job. Out: the JSON of its rows; a process that dies gives rows with the reason.
Convention: the process ends with its parent, whose end of a pipe it watches.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from planner.process.command import planner_command
from planner.process.exit_reasons import hint, signal_name
from planner.sweeps.jobs import SweepJob, answer_of

_MAIN = "planner.questions.sweep_process"
_TAIL_BYTES = 2000  # of what the process printed, for the reason of its end
_GRACE_S = 5.0

_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()
_is_closed = threading.Event()


def run_job(text: str) -> str:
    """Returns the rows of a job as JSON; never raises for what the job does."""
    job = SweepJob.from_json(text)
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        try:
            process = _started(job, printed)
        except OSError as error:
            reason = f"no process could be started on {platform.node()}: {error}"
            return answer_of(job.failed(reason, "ChildError"))
        answer, code = _answer(process, text)
        if code == 0 and answer:
            return answer
        reason = _ending(code, printed)
    rows = job.failed(reason, "ChildError")
    return answer_of([replace(row, run_s=time.monotonic() - began_s) for row in rows])


def end_running() -> None:
    """Ends the processes of this one's jobs; those that start later end at once."""
    _is_closed.set()
    with _lock:
        running = list(_running)
    for process in running:
        with suppress(OSError):
            process.terminate()
    end_s = time.monotonic() + _GRACE_S
    for process in running:
        try:
            process.wait(timeout=max(0.1, end_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def reopen() -> None:
    """Lets processes start again after `end_running`."""
    _is_closed.clear()


def _started(job: SweepJob, printed: IO[bytes]) -> subprocess.Popen[bytes]:
    folder = Path(job.folder)
    with _lock:
        if _is_closed.is_set():
            raise OSError("the sweep has ended")
        process = subprocess.Popen(
            planner_command(_MAIN),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            # On another machine the folder may be missing, and only files need it.
            cwd=folder if folder.is_dir() else None,
            # Ctrl-C reaches the sweep alone, which ends this process in order.
            start_new_session=True,
        )
        _running.add(process)
    return process


def _answer(process: subprocess.Popen[bytes], text: str) -> tuple[str, int]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(OSError):  # it ended before it could read
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
        answer = process.stdout.read().decode(errors="replace")
        return answer, process.wait()
    finally:
        with suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        with _lock:
            _running.discard(process)


def _ending(code: int, printed: IO[bytes]) -> str:
    if code < 0:
        how = f"killed by {signal_name(-code)}{hint(-code) if -code == signal.SIGKILL else ''}"
    else:
        how = f"exit code {code}"
    end = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, end - _TAIL_BYTES))
    lines = printed.read().decode(errors="replace").strip().splitlines()
    last = f"; its last line: {lines[-1]}" if lines else ""
    return f"the process of this case ended without an answer: {how}{last}"
