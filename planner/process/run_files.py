"""Two files without a name that a child writes while it runs: where it hangs, and how far it is.

In: the child's process number. Out: words for a line of progress or for a time-out. Convention:
another thread may have closed them; then there is nothing to say.
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
    """The files, open from the start. Nothing has to be removed, however this process ends."""

    def __init__(self) -> None:
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115 # see close
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115 # see close

    @property
    def descriptors(self) -> tuple[int, int]:
        """For the child: the file for its stack, and that for its notes."""
        return self._stack.fileno(), self._notes.fileno()

    def close(self) -> None:
        """Gives them back."""
        self._stack.close()
        self._notes.close()

    def reading(self) -> ReadingNote | None:
        """At which place the run reads values: None when it has not said so."""
        try:
            text = os.pread(self._notes.fileno(), READING_NOTE_BYTES, 0)
        except (OSError, ValueError):
            return None
        return reading_note(text)

    def how_far(self) -> str:
        """How far the run is; "" when it has not said so."""
        try:
            line = os.pread(self._notes.fileno(), STEP_NOTE_BYTES, STEP_NOTE_OFFSET)
        except (OSError, ValueError):
            return ""
        note = step_note(line)
        return "" if note is None else note.said

    def stack(self, session: int) -> str:
        """Where the processes of the session are, by faulthandler: one after the other, because
        all write to one file and their lines would mix.
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
        """Lets one process write its stack; returns when it has, or says nothing."""
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
