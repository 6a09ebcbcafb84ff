"""Loops that write tokens: they end with their length, or with the window of a run."""

from __future__ import annotations

import torch

from planner.config.generation import TokenWindow
from planner.worker.drive.token_loop import TokenLoops


def rounds(loops: TokenLoops, length: int, longest: int | None) -> int:
    """Plays generate() of transformers; returns how many tokens it has written."""
    written = 0
    with loops.running():
        while loops.goes_on():
            written += 1
            loops.note_length(length + written, longest)
    return written


def test_a_loop_ends_with_its_greatest_length() -> None:
    assert rounds(TokenLoops(), 10, 14) == 4


def test_a_window_ends_it_earlier_and_marks_each_round() -> None:
    loops, marks = TokenLoops(), []
    with loops.watched(TokenWindow(skipped=0, tokens=3), lambda cache: marks.append(list(cache))):
        assert rounds(loops, 10, 100) == 3
    assert len(marks) == 4  # before each round, and where the loop ends
    assert loops.has_run
    assert rounds(loops, 10, 12) == 2
    assert len(marks) == 4


def test_the_loop_of_an_assistant_has_a_length_of_its_own() -> None:
    loops, marks = TokenLoops(), []
    with loops.watched(None, lambda cache: marks.append(0)), loops.running():
        assert loops.goes_on()
        assert rounds(loops, 5, 7) == 2
        loops.note_length(6, 7)
        assert loops.goes_on()
        loops.note_length(7, 7)
        assert not loops.goes_on()
    assert len(marks) == 3


def test_outside_of_any_loop_nothing_ends() -> None:
    loops = TokenLoops()
    loops.note_length(8, 8)
    assert loops.goes_on()
    assert not loops.has_ended()


def test_only_tensors_on_a_card_are_those_of_the_cache() -> None:
    loops, marks = TokenLoops(), []
    with loops.watched(None, lambda cache: marks.append(list(cache))), loops.running():
        loops.note_cache([None, {"keys": torch.zeros(3)}])
        loops.goes_on()
    assert marks == [[]]
