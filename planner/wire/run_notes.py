"""Notes that a running job writes for the process that waits: its reads and its progress.

In: the child writes them into one file, each at its own place. Out: a ReadingNote and a StepNote,
for a line of progress or a time-out. Convention: a new run overwrites the notes; they are for
people, and no decision depends on them.
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
    """The place at which a run has read `count` times so far."""

    site: ReadSite
    count: int

    @property
    def said(self) -> str:
        """The note in words."""
        site, times = self.site, "once" if self.count == 1 else f"{self.count:,} times"
        place = f"at {site.file}:{site.line} in {site.function}" if site.file else "in backward"
        return f"it has read values of the card {times} {place}"

    def line(self) -> bytes:
        """Returns the note as a line of the file of notes."""
        text = json.dumps([self.site.file, self.site.line, self.site.function, self.count])
        return text.encode().ljust(READING_NOTE_BYTES)[:READING_NOTE_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNote:
    """The progress of a run: `step` counts from 1, and is 0 while the model is built.

    `modules` is 0 until the model is built.
    """

    step: int
    steps: int
    modules: int = 0
    compiles: bool = False

    @property
    def said(self) -> str:
        """The note in words, to be appended to a description of the job."""
        if self.step == 0:
            return "the model is being built"
        text = f"step {self.step} of {self.steps}, the model has {self.modules:,} modules"
        if self.compiles and self.step == 1:
            text += "; torch.compile compiles it now, which can take minutes"
        return text

    def line(self) -> bytes:
        """Returns the note as a line of the file of notes."""
        return json.dumps(asdict(self)).encode().ljust(STEP_NOTE_BYTES)


def reading_note(text: bytes) -> ReadingNote | None:
    """Returns the note that a run wrote; None if there is none yet, or it cannot be read."""
    try:
        file, line, function, count = json.loads(text)
        return ReadingNote(
            site=ReadSite(file=str(file), line=int(line), function=str(function)), count=int(count)
        )
    except (ValueError, TypeError):
        return None


def step_note(line: bytes) -> StepNote | None:
    """Returns the note on a run's progress; None if there is none."""
    try:
        return StepNote(**json.loads(line))
    except (ValueError, TypeError):
        return None
