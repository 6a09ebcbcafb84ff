"""The compiler's folder: a new one for each run, and nothing of it is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from planner.worker.serve import compiler_folder


def test_each_run_has_a_folder_of_its_own_and_it_is_seen_whether_it_was_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/of/the/user")
    made = compiler_folder.made()
    assert made is not None
    first, second = (compiler_folder.of_run(made, number) for number in (1, 2))
    assert first is not None
    assert first != second
    assert not compiler_folder.was_used(first)
    compiler_folder.use(first)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == first
    Path(first).mkdir()
    assert compiler_folder.was_used(first)
    compiler_folder.removed(made)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_the_compiler_uses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/of/the/user")
    assert compiler_folder.made() is None
    assert compiler_folder.of_run(None, 1) is None
    compiler_folder.use(None)
    compiler_folder.removed(None)
    assert not compiler_folder.was_used(None)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/of/the/user"
