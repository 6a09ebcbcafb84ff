"""One job as a process: started, its lines of progress read, ended with all that it has started.

In: the words of a command, and a file for its result. Out: lines of progress as they come, then
RunEnded. Convention: the process ends when this one closes its stdin, or has ended itself.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from planner.machine.processes import PATIENCE_S, kill, session_members
from planner.process.command import planner_command
from planner.render.outside_text import shown

_SUPERVISOR = "planner.ui.supervised"
_CHUNK_BYTES = 1 << 16
_LONGEST_LINE = 500
_LAST_LINES = 200
_ERROR = "error: "
_WAIT_S = 3.0 + PATIENCE_S + 5.0  # of the supervisor: its grace, its patience, and its start


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """How a process ended: its exit code, and its error or last lines if it has failed."""

    code: int
    error: str


class Run:
    """A running job. All methods belong to the thread of the event loop."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    @classmethod
    async def started(cls, command: str, words: Sequence[str], *, folder: Path) -> Run:
        """Starts a module of planner with these words, in that folder.

        Raises:
            OSError: no process can be started.
        """
        process = await asyncio.create_subprocess_exec(
            *planner_command(_SUPERVISOR),
            command,
            *words,
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process)

    async def ended(self, on_line: Callable[[str], None]) -> RunEnded:
        """Returns how it ended; calls `on_line` with each line on the way."""
        stream = self._process.stderr
        assert stream is not None
        pending = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            *whole, pending = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in whole:
                self._take(line, on_line)
            pending = pending[:_LONGEST_LINE]  # a line without an end is not kept whole
        self._take(pending, on_line)
        code = await self._process.wait()
        self._close()
        return RunEnded(code=code, error=self._error())

    async def end(self) -> None:
        """Ends the process and all that it has started; returns when they are gone."""
        self._close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), _WAIT_S)
            return
        end_s = time.monotonic() + PATIENCE_S
        while (members := session_members(self._process.pid)) and time.monotonic() < end_s:
            for pid in members:
                kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _take(self, line: bytes, on_line: Callable[[str], None]) -> None:
        text = shown(line[:_LONGEST_LINE].decode(errors="replace").rstrip())
        if text:
            self._lines.append(text)
            on_line(text)

    def _error(self) -> str:
        """Returns the lines from the last `error:` on, or the last line."""
        lines = list(self._lines)
        starts = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
        if starts:
            return "\n".join(lines[starts[-1] :]).removeprefix(_ERROR)
        return lines[-1] if lines else "it ended without a word"
