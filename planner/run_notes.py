"""How far a run is, for whoever waits for it: a note of its own beside that of its reads.

In: the child writes it as the run goes on. Out: a StepNote, for a line of progress or a time-out.
Convention: the newest run's note stands; it is for people and decides nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from planner.value_reads import NOTE_BYTES

STEP_NOTE_BYTES = 256
STEP_NOTE_OFFSET = NOTE_BYTES  # in the file of notes, behind the note of reads


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNote:
    """`step` counts from 1; 0 while the model is built. `modules` is 0 until it is."""

    step: int
    steps: int
    modules: int = 0
    compiles: bool = False

    @property
    def said(self) -> str:
        """In words, to be appended to what is done."""
        if self.step == 0:
            return "the model is being built"
        text = f"step {self.step} of {self.steps}, the model has {self.modules:,} modules"
        if self.compiles and self.step == 1:
            text += "; torch.compile compiles it now, which can take minutes"
        return text

    def line(self) -> bytes:
        """For the file of notes."""
        return json.dumps(asdict(self)).encode().ljust(STEP_NOTE_BYTES)


def step_note(line: bytes) -> StepNote | None:
    """The note in the file; None where there is none."""
    try:
        return StepNote(**json.loads(line))
    except (ValueError, TypeError):
        return None
