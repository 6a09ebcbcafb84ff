"""Notes that a run leaves while it goes on, for whoever waits for it: what it reads, how far it is.

In: the child writes them into one file, each at its own place. Out: a ReadingNote and a StepNote,
for a line of progress or a time-out. Convention: the newest run's notes stand; they are for people
and decide nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from planner.wire.value_reads import ReadSite

READING_NOTE_BYTES = 4096  # a path may be long
STEP_NOTE_BYTES = 256
STEP_NOTE_OFFSET = READING_NOTE_BYTES  # the note of reads is at the beginning of the file


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingNote:
    """The place at which a run that goes on has read `count` times."""

    site: ReadSite
    count: int

    @property
    def said(self) -> str:
        """The note in words."""
        return (
            f"it has read values of the card {self.count:,} times at {self.site.file}:"
            f"{self.site.line} in {self.site.function}"
        )

    def line(self) -> bytes:
        """For the file of notes."""
        text = json.dumps([self.site.file, self.site.line, self.site.function, self.count])
        return text.encode().ljust(READING_NOTE_BYTES)[:READING_NOTE_BYTES]


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


def reading_note(text: bytes) -> ReadingNote | None:
    """The note that a run has left; None where there is none yet, or it cannot be read."""
    try:
        file, line, function, count = json.loads(text)
        return ReadingNote(
            site=ReadSite(file=str(file), line=int(line), function=str(function)), count=int(count)
        )
    except (ValueError, TypeError):
        return None


def step_note(line: bytes) -> StepNote | None:
    """The note of how far a run is; None where there is none."""
    try:
        return StepNote(**json.loads(line))
    except (ValueError, TypeError):
        return None
