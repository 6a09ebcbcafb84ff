"""What the kept answers of a result depend on, written down while it is made.

In: the reads of each answer and their state. Out: Journal. Convention: one journal of this process
is open at a time, or none; several threads may write into it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from planner.wire.reads import Reads


class Journal:
    """Reads by their state. `is_whole`: each answer of the result is kept, and was its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_spoilt = False
        self.reads: dict[str, Reads] = {}

    @property
    def is_whole(self) -> bool:
        """Returns whether the same answers can be had as long as the reads stay as they are."""
        return bool(self.reads) and not self._is_spoilt

    def note(self, reads: Reads, state: str) -> None:
        """Notes an answer that is kept."""
        with self._lock:
            self.reads[state] = reads

    def spoil(self) -> None:
        """Notes an answer that a repeat may give otherwise."""
        with self._lock:
            self._is_spoilt = True


_open: Journal | None = None


@contextmanager
def open_journal() -> Iterator[Journal]:
    """Yields the journal of all answers until it is closed."""
    global _open
    before, _open = _open, Journal()
    try:
        yield _open
    finally:
        _open = before


def note(reads: Reads, state: str) -> None:
    """Notes an answer that is kept, where a journal is open."""
    if _open is not None:
        _open.note(reads, state)


def spoil() -> None:
    """Notes an answer that a repeat may give otherwise, where a journal is open."""
    if _open is not None:
        _open.spoil()
