"""Packages that a task has no use for cannot be found while its library is imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from planner.config.published import Quant, Task, TaskConfig
from planner.worker.published.hidden_packages import hidden, unused_by

UNIMPORTED = "this"  # of the standard library; prints a poem when imported, so nobody does


def test_a_hidden_package_is_not_found_and_comes_back() -> None:
    assert UNIMPORTED not in sys.modules
    with hidden((UNIMPORTED,)):
        assert find_spec(UNIMPORTED) is None
        with pytest.raises(ImportError):
            __import__(UNIMPORTED)
    assert UNIMPORTED not in sys.modules
    assert find_spec(UNIMPORTED) is not None


def test_an_imported_package_stays() -> None:
    with hidden(("json",)):
        assert sys.modules["json"] is not None
    assert "json" in sys.modules


@pytest.mark.parametrize(
    "task",
    [TaskConfig(task=Task.QLORA), TaskConfig(task=Task.LORA, quant=Quant.INT8)],
)
def test_what_quantises_is_there_for_a_task_that_quantises(task: TaskConfig) -> None:
    assert unused_by(task) == ()


def test_a_task_without_quantised_weights_hides_what_quantises() -> None:
    assert "bitsandbytes" in unused_by(TaskConfig(task=Task.LORA))
