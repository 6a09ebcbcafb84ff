from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from planner.errors import TargetError
from planner.worker.target.imports import import_file


def test_siblings_import_and_no_bytecode_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    package = tmp_path / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("VALUE = 3\n")
    (tmp_path / "sibling_of_model.py").write_text("from parts.deep import VALUE\n")
    (tmp_path / "main_model.py").write_text("from sibling_of_model import VALUE\n")
    assert import_file(tmp_path / "main_model.py").VALUE == 3
    assert sys.path[0] == str(tmp_path)
    assert not list(tmp_path.rglob("__pycache__"))


def test_classes_of_the_file_pickle(tmp_path: Path) -> None:
    text = (
        "from dataclasses import dataclass\n"
        "@dataclass(slots=True)\n"
        "class Settings:\n"
        "    width: 'int' = 3\n"
    )
    (tmp_path / "with_settings.py").write_text(text)
    module = import_file(tmp_path / "with_settings.py")
    assert sys.modules["with_settings"] is module
    assert pickle.loads(pickle.dumps(module.Settings(5))).width == 5


def test_a_file_named_like_a_library_does_not_take_its_place(tmp_path: Path) -> None:
    import torch

    (tmp_path / "torch.py").write_text("mine = True\n")
    module = import_file(tmp_path / "torch.py")
    assert module.mine
    assert sys.modules["torch"] is torch


def test_a_failed_import_leaves_no_module(tmp_path: Path) -> None:
    (tmp_path / "broken_model.py").write_text("1 / 0\n")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        import_file(tmp_path / "broken_model.py")
    assert "broken_model" not in sys.modules


def test_only_python_files(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_text("")
    with pytest.raises(TargetError, match=r"must end in \.py"):
        import_file(tmp_path / "weights.pt")


def test_sys_exit_in_the_file_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "leaving_model.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(Exception, match="SystemExit: 3"):
        import_file(tmp_path / "leaving_model.py")
