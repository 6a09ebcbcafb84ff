"""Leaves notes of what a run reads and how far it is, for whoever waits for it.

In: the descriptor of the file of notes, once; then the notes. Out: nothing. Convention: there is
one file for each process, so it is kept here; without one, nothing is noted.
"""

from __future__ import annotations

import os
from contextlib import suppress

from planner.wire.run_notes import STEP_NOTE_OFFSET, ReadingNote, StepNote
from planner.wire.value_reads import ReadSite

_files: list[int] = []


def note_into(descriptor: int) -> None:
    """From here on notes are written to this file."""
    _files[:] = [descriptor]


def note_reads(site: ReadSite, count: int) -> None:
    """Says at which place the run reads."""
    _write(ReadingNote(site=site, count=count).line(), 0)


def note_step(step: StepNote) -> None:
    """Says how far the run is."""
    _write(step.line(), STEP_NOTE_OFFSET)


def _write(line: bytes, offset: int) -> None:
    for descriptor in _files:
        with suppress(OSError):  # closed by the user's code: a note is no matter to fail for
            os.pwrite(descriptor, line, offset)
