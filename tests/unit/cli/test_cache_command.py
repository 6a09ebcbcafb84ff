"""`planner cache`: what is kept, and its removal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.root import root
from planner.process.kept import store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VRAM_PLANNER_CACHE", str(tmp_path))
    monkeypatch.setenv("VRAM_PLANNER_CACHE_SIZE", "1MiB")
    store.open_store().write("key/file", b"text")
    return tmp_path / "answers"


def test_info(folder: Path) -> None:
    size_bytes = (folder / "key" / "file").stat().st_size
    result = CliRunner().invoke(root, ["cache", "info", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "schema_version": 1,
        "folder": str(folder),
        "files": 1,
        "size_bytes": size_bytes,
        "limit_bytes": 1 << 20,
    }
    shown = CliRunner().invoke(root, ["cache", "info"])
    assert shown.stdout.splitlines()[0] == str(folder)
    assert shown.stdout.splitlines()[1].startswith("1 file, ")


def test_clear(folder: Path) -> None:
    result = CliRunner().invoke(root, ["cache", "clear"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("removed 1 file, ")
    assert not folder.exists()


def test_a_wrong_size_is_wrong_usage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRAM_PLANNER_CACHE_SIZE", "much")
    result = CliRunner().invoke(root, ["cache", "info"])
    assert result.exit_code == 2
    assert "VRAM_PLANNER_CACHE_SIZE" in result.stderr


def test_a_folder_with_a_hostile_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRAM_PLANNER_CACHE", str(tmp_path / "a\x1b[31mb"))
    result = CliRunner().invoke(root, ["cache", "info"])
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "a\\x1b[31mb" in result.stdout
