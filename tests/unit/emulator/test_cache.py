"""The cache folder is private, complete or empty, and safe for several processes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import planner
from planner.emulator.cache import VARIABLE, DeviceCache
from planner.errors import BuildError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that $VRAM_PLANNER_CACHE names; not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def fill(work: Path) -> dict[str, str]:
    (work / "library.so").write_text("built")
    return {"made by": "a test"}


def refused(root: Path) -> str:
    with pytest.raises(BuildError) as caught:
        DeviceCache.open()
    text = str(caught.value)
    assert str(root) in text
    assert f"set {VARIABLE} to a folder of your own" in text
    return text


def test_the_folder_is_private(root: Path) -> None:
    cache = DeviceCache.open()
    assert cache.folder == root / "device"
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    cache.store("key", fill)
    assert stat.S_IMODE((cache.folder / "key").stat().st_mode) == 0o700


def test_a_folder_that_others_may_read_is_closed(root: Path) -> None:
    (root / "device").mkdir(parents=True, mode=0o755)
    os.chmod(root / "device", 0o755)
    assert stat.S_IMODE(DeviceCache.open().folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_may_write_is_refused(root: Path, mode: int) -> None:
    (root / "device").mkdir(parents=True)
    os.chmod(root / "device", mode)
    assert "others may write to it" in refused(root)


def test_a_file_in_the_place_of_the_folder(root: Path) -> None:
    root.mkdir()
    (root / "device").write_text("")
    assert "File exists" in refused(root)


def test_a_file_in_the_place_of_its_parent(root: Path) -> None:
    root.write_text("")
    assert "Not a directory" in refused(root) or "File exists" in refused(root)


def test_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "device").symlink_to(tmp_path / "elsewhere")
    assert "it is not a folder" in refused(root)


def test_a_read_only_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        assert "Read-only file system" in refused(root)
    cache = DeviceCache.open()
    monkeypatch.setattr("tempfile.mkdtemp", mkdir)
    with pytest.raises(BuildError, match=f"Read-only file system; set {VARIABLE}"):
        cache.store("key", fill)


def test_a_full_disk(root: Path) -> None:
    def run_full(work: Path) -> dict[str, str]:
        fill(work)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache = DeviceCache.open()
    with pytest.raises(BuildError, match=f"is full.* MB there; free some or set {VARIABLE}"):
        cache.store("key", run_full)
    assert list(cache.folder.iterdir()) == []
    assert cache.opened("key") is None


@pytest.mark.parametrize("error", [BuildError("no"), KeyboardInterrupt(), ValueError("?")])
def test_a_failure_leaves_nothing_behind(root: Path, error: BaseException) -> None:
    def broken(work: Path) -> dict[str, str]:
        fill(work)
        raise error

    cache = DeviceCache.open()
    with pytest.raises(type(error)):
        cache.store("key", broken)
    assert list(cache.folder.iterdir()) == []
    cache.store("key", fill)
    document = cache.opened("key")
    assert document is not None
    assert document["made by"] == "a test"


def test_what_a_killed_process_left_is_removed(root: Path) -> None:
    cache = DeviceCache.open()
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(planner.__file__).parents[1])!r})
from planner.emulator.cache import DeviceCache
DeviceCache.open().store("key", lambda work: os.kill(os.getpid(), signal.SIGKILL))
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert len(list(cache.folder.iterdir())) == 1
    cache.store("other", fill)
    assert len(list(cache.folder.iterdir())) == 2  # it may belong to a build that still runs
    cache.store("key", fill)
    assert sorted(path.name for path in cache.folder.iterdir()) == ["key", "other"]


def test_a_build_that_came_first_without_the_lock_is_taken(root: Path) -> None:
    cache = DeviceCache.open()

    def overtaken(work: Path) -> dict[str, str]:
        (cache.folder / "key").mkdir()
        (cache.folder / "key" / "library.so").write_text("the other's")
        return fill(work)

    cache.store("key", overtaken)
    assert (cache.folder / "key" / "library.so").read_text() == "the other's"
    assert [path.name for path in cache.folder.iterdir()] == ["key"]


def test_the_lock_lets_one_in_and_says_so_to_the_other(root: Path) -> None:
    cache = DeviceCache.open()
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with DeviceCache.open().lock("key", said.append):
            order.append("second")

    thread = threading.Thread(target=second)
    with cache.lock("key", said.append):
        thread.start()
        thread.join(0.5)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert said == ["waiting for another process that builds the emulated device"]


def test_a_lock_held_too_long_names_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.emulator.cache._LOCK_WAIT_S", 0.1)
    cache = DeviceCache.open()
    with (
        cache.lock("key", print),
        pytest.raises(BuildError, match=r"delete .*key\.lock"),
        DeviceCache.open().lock("key", lambda text: None),
    ):
        raise AssertionError("two hold it")
