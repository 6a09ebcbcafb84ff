"""Reads two unnamed files that a child writes while it runs: its stack and its progress.

In: the child's process number. Out: words for a line of progress or for a time-out. Convention:
another thread may have closed the files; then the answer is empty.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time

from planner.machine.processes import kill, session_members
from planner.process.exit_reasons import told_stack
from planner.wire.run_notes import (
    READING_NOTE_BYTES,
    STEP_NOTE_BYTES,
    STEP_NOTE_OFFSET,
    ReadingNote,
    reading_note,
    step_note,
)

_STACK_WAIT_S = 0.5  # of one process
_STACKS_WAIT_S = 4.0  # of all
_PAUSE_S = 0.05
_NO_STACK = "; its process does not say where: it is stopped, waits for a disk, or ignores SIGUSR1"


class RunFiles:
    """The two files, open from the start. They leave nothing behind, however this process ends."""

    def __init__(self) -> None:
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115 # see close
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115 # see close

    @property
    def descriptors(self) -> tuple[int, int]:
        """Returns the descriptors for the child: of the stack file and of the notes file."""
        return self._stack.fileno(), self._notes.fileno()

    def close(self) -> None:
        """Closes both files."""
        self._stack.close()
        self._notes.close()

    def reading(self) -> ReadingNote | None:
        """Returns the place where the run reads values; None if it has reported none."""
        try:
            text = os.pread(self._notes.fileno(), READING_NOTE_BYTES, 0)
        except (OSError, ValueError):
            return None
        return reading_note(text)

    def how_far(self) -> str:
        """Returns how far the run is, in words; "" if it has not reported it."""
        try:
            line = os.pread(self._notes.fileno(), STEP_NOTE_BYTES, STEP_NOTE_OFFSET)
        except (OSError, ValueError):
            return ""
        note = step_note(line)
        return "" if note is None else note.said

    def stack(self, session: int) -> str:
        """Returns the stacks of the session's processes, written by faulthandler.

        The processes write one after the other: in the one file their lines would mix.
        """
        deadline = time.monotonic() + _STACKS_WAIT_S
        try:
            for pid in session_members(session):
                if time.monotonic() < deadline:
                    self._ask(pid)
            text = os.pread(self._stack.fileno(), self._size(), 0).decode(errors="replace")
        except (OSError, ValueError):
            return ""
        return told_stack(text) or _NO_STACK

    def _ask(self, pid: int) -> None:
        """Makes one process write its stack; returns when it has, or after _STACK_WAIT_S."""
        before = last = self._size()
        kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + _STACK_WAIT_S
        while time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            size = self._size()
            if size == last > before:
                return
            last = size

    def _size(self) -> int:
        return os.fstat(self._stack.fileno()).st_size
