"""A module is changed before a script has it, whether it was imported before or not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from planner.worker.engines.after_import import after_import


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that nobody has imported."""
    (tmp_path / "changed_later.py").write_text("answer = 1\nother = answer\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "changed_later", raising=False)
    return "changed_later"


def double(module: ModuleType) -> None:
    changed: Any = module
    changed.answer *= 2


def test_before_its_import(module: str) -> None:
    after_import(module, double)
    assert module not in sys.modules
    found = __import__(module)
    assert (found.answer, found.other) == (2, 1)


def test_after_its_import(module: str) -> None:
    found = __import__(module)
    after_import(module, double)
    assert found.answer == 2


def test_two_changes_of_other_modules_leave_each_other_alone(module: str) -> None:
    after_import("no_such_module_at_all", double)
    after_import(module, double)
    assert __import__(module).answer == 2
    with pytest.raises(ModuleNotFoundError):
        __import__("no_such_module_at_all")
