"""Leaves a note of how far a run is, for whoever waits for it.

In: the descriptor of the file of notes, once; then the notes. Out: nothing. Convention: there is
one file for each process, so it is kept here; without one, nothing is noted.
"""

from __future__ import annotations

import os
from contextlib import suppress

from planner.run_notes import STEP_NOTE_OFFSET, StepNote

_files: list[int] = []


def note_into(descriptor: int) -> None:
    """From here on notes are written to this file."""
    _files[:] = [descriptor]


def note(step: StepNote) -> None:
    """Says how far the run is."""
    for descriptor in _files:
        with suppress(OSError):  # closed by the user's code: a note is no matter to fail for
            os.pwrite(descriptor, step.line(), STEP_NOTE_OFFSET)
