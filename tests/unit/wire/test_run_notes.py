"""Notes of how far a run is, through a file as the child writes it."""

from __future__ import annotations

import os

from planner.process.run_files import RunFiles
from planner.wire.run_notes import StepNote, step_note
from planner.worker.serve import progress


def test_a_note_comes_back_and_an_empty_file_has_none() -> None:
    note = StepNote(step=2, steps=3, modules=100_001)
    assert step_note(note.line()) == note
    assert step_note(b"") is None
    assert step_note(b"\0" * 256) is None
    assert step_note(b'{"step": 1}') is None


def test_the_words() -> None:
    assert StepNote(step=0, steps=3).said == "the model is being built"
    note = StepNote(step=1, steps=3, modules=100_001, compiles=True)
    assert note.said.startswith("step 1 of 3, the model has 100,001 modules; torch.compile")
    assert "compile" not in StepNote(step=2, steps=3, modules=5, compiles=True).said


def test_the_child_writes_and_the_parent_reads() -> None:
    files = RunFiles()
    try:
        assert files.how_far() == ""
        assert files.reading() is None
        progress.note_into(files.descriptors[1])
        progress.note_step(StepNote(step=1, steps=3, modules=7))
        assert files.how_far() == "step 1 of 3, the model has 7 modules"
        assert files.reading() is None
    finally:
        progress._files.clear()
        files.close()
    assert files.how_far() == ""
    assert files.stack(os.getpid() + 10**7) == ""


def test_a_file_that_the_user_closed_is_no_failure() -> None:
    out, into = os.pipe()
    os.close(out)
    os.close(into)
    progress.note_into(into)
    try:
        progress.note_step(StepNote(step=1, steps=1))
    finally:
        progress._files.clear()
