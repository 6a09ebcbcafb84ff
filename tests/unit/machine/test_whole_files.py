"""Files that commands write are whole, or what was there before."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from planner.errors import OutputError, UsageError
from planner.machine.whole_files import check_place, write_whole


def test_the_old_file_stays_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> Any:
        raise OSError(28, "No space left on device")

    path = tmp_path / "figures.csv"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"figures\.csv could not be written: No space left"):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("is_private", "mode"), [(False, 0o640), (True, 0o600)])
def test_who_may_read_a_new_one(tmp_path: Path, is_private: bool, mode: int) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "text", is_private=is_private)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_one_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    file.chmod(mode)
    write_whole(file, "after")
    assert file.read_text() == "after"
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_private_one_becomes_private(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    file.chmod(0o644)
    write_whole(file, "after", is_private=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_umask_of_the_process_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("other threads make files too"))
    write_whole(tmp_path / "file", "text")


def test_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    write_whole(link, "after")
    assert link.is_symlink()
    assert target.read_text() == "after"


def test_a_device_without_room_is_named() -> None:
    with pytest.raises(OutputError) as caught:
        write_whole(Path("/dev/full"), "text")
    assert str(caught.value) == "/dev/full could not be written: No space left on device"


def test_the_longest_name_is_written(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 255)
    write_whole(file, "text")
    assert file.read_text() == "text"


def test_a_place_is_looked_at_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target.csv")
    for good in (tmp_path / "new.csv", Path("/dev/null"), Path("/dev/full"), tmp_path / "link"):
        check_place(good, "--csv")
    with pytest.raises(UsageError, match=r"--csv .*: there is no folder .*missing; create it"):
        check_place(tmp_path / "missing" / "new.csv", "--csv")
    with pytest.raises(UsageError, match="it is a folder; name a file"):
        check_place(tmp_path, "--csv")
    assert not (tmp_path / "target.csv").exists()


def test_a_place_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match=f"the folder {tmp_path} may not be written"):
        check_place(tmp_path / "new.csv", "--csv")
    with pytest.raises(UsageError, match="--csv /dev/null: it may not be written"):
        check_place(Path("/dev/null"), "--csv")


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk takes root")
def test_a_disk_that_is_full_keeps_the_old_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        file = disk / "figures.csv"
        file.write_text("before")
        with pytest.raises(OutputError, match=rf"{file} could not be written: No space left.*unch"):
            write_whole(file, "x" * 100_000)
        assert file.read_text() == "before"
        assert list(disk.iterdir()) == [file]
    finally:
        subprocess.run(["umount", disk], check=True)
