"""Writes notes on a run's reads and progress, for the process that waits for it.

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
    """Makes this file the one for notes."""
    _files[:] = [descriptor]


def note_reads(site: ReadSite, count: int) -> None:
    """Notes the place at which the run reads."""
    _write(ReadingNote(site=site, count=count).line(), 0)


def note_step(step: StepNote) -> None:
    """Notes the progress of the run."""
    _write(step.line(), STEP_NOTE_OFFSET)


def _write(line: bytes, offset: int) -> None:
    for descriptor in _files:
        with suppress(OSError):  # closed by the user's code: a missing note is no failure
            os.pwrite(descriptor, line, offset)
