from __future__ import annotations

import time

import pytest

from planner.estimation.slow_run import noted_when_slow


def test_a_slow_run_is_noted_once_and_a_quick_one_never() -> None:
    said: list[str] = []
    with noted_when_slow(said.append, "a100: batch 8", after_s=0.01):
        time.sleep(0.2)
    assert len(said) == 1
    assert said[0].startswith("a100: batch 8: still running after 0 s; where the model uses torch")
    with noted_when_slow(said.append, "t4", after_s=0.2):
        pass
    time.sleep(0.4)
    assert len(said) == 1


def test_an_error_ends_it_too() -> None:
    said: list[str] = []
    with pytest.raises(ValueError, match="x"), noted_when_slow(said.append, "t4", after_s=0.2):
        raise ValueError("x")
    time.sleep(0.4)
    assert said == []
