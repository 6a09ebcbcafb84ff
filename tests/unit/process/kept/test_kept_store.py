"""The folder of kept answers: whole files, the oldest removed, nothing broken is used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from planner.errors import BuildError, UsageError
from planner.process.kept import store
from planner.process.kept.store import Store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VRAM_PLANNER_CACHE", str(tmp_path))
    return tmp_path / "answers"


def test_a_file_is_read_as_it_was_written(folder: Path) -> None:
    kept = store.open_store()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert kept.read("a/b") is None
    kept.write("a/b", b"x" * 10_000)
    assert kept.read("a/b") == b"x" * 10_000
    assert kept.names("a") == ["b"]


@pytest.mark.parametrize("damage", [b"", b"planner-kept-1\n", b"x", None])
def test_a_broken_file_is_removed(folder: Path, damage: bytes | None) -> None:
    kept = store.open_store()
    kept.write("a", b"some text")
    raw = (folder / "a").read_bytes()
    (folder / "a").write_bytes(raw[:-1] + b"!" if damage is None else damage)
    assert kept.read("a") is None
    assert not (folder / "a").exists()


def test_the_least_recently_used_are_removed(folder: Path) -> None:
    kept = store.open_store()
    for index in range(10):
        kept.write(f"{index}/file", os.urandom(1000))
        os.utime(folder / f"{index}" / "file", ns=(index, index))
    assert kept.read("0/file") is not None  # used now
    kept.prune(20_000)
    assert store.contents().files == 10
    kept.prune(5_500)
    left = sorted(path.parent.name for path in folder.rglob("file"))
    assert left == ["0", "7", "8", "9"]
    assert sorted(path.name for path in folder.iterdir()) == left, "no empty folder stays"


def test_clear_removes_all(folder: Path) -> None:
    store.open_store().write("a/b", b"text")
    (folder.parent / "device").mkdir()
    assert store.clear().files == 1
    assert not folder.exists()
    assert (folder.parent / "device").is_dir()
    assert store.clear().files == 0


def test_a_link_in_the_place_of_the_folder_of_another_user_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(BuildError, match="others may write to it"):
        store.open_store()
    with pytest.raises(BuildError, match="others may write to it"):
        store.clear()


def test_a_draft_is_no_answer(folder: Path) -> None:
    kept: Store = store.open_store()
    kept.write("a/b", b"text")
    (folder / "a" / ".draft-1").write_bytes(b"half")
    assert kept.names("a") == ["b"]


@pytest.mark.parametrize(("text", "size_bytes"), [("1MiB", 1 << 20), ("", 2 << 30), ("0", 0)])
def test_the_size_may_be_given(monkeypatch: pytest.MonkeyPatch, text: str, size_bytes: int) -> None:
    monkeypatch.setenv("VRAM_PLANNER_CACHE_SIZE", text)
    assert store.limit_bytes() == size_bytes


def test_a_wrong_size_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRAM_PLANNER_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="VRAM_PLANNER_CACHE_SIZE in the environment"):
        store.limit_bytes()
