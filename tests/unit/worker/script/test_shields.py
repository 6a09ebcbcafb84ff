"""Writes of a command are kept from the disk: by overlays, or by Landlock."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from planner.worker.script.landlock import version
from planner.worker.script.namespaces import Mounted, mounted, overlaid

ROOT = Path(__file__).parents[4]


def _run(code: str, *words: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


_NAMESPACES = """
    import os, sys
    from pathlib import Path
    from planner.worker.script.namespaces import enter_namespaces
    folder, working, kept = map(Path, sys.argv[1:])
    try:
        enter_namespaces(folder, [kept], working)
    except OSError as error:
        print(error)
        sys.exit(9)
    assert Path.cwd() == working
    Path("old.txt").write_text("changed")
    Path("new.txt").write_text("new")
    Path("gone.txt").unlink()
    Path("folder").mkdir()
    Path(kept, "kept.txt").write_text("kept")
    Path(folder, "report").write_text("report")
    assert sorted(os.listdir(".")) == ["folder", "new.txt", "old.txt"]
    for place in ("/planner-test", "/etc/planner-test", "/usr/planner-test"):
        try:
            open(place, "w")
        except OSError:
            continue
        sys.exit(f"{place} was written")
    import socket
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=2)
        sys.exit("there is a network")
    except OSError:
        pass
"""


def test_namespaces_throw_away_what_is_written(tmp_path: Path) -> None:
    folder, working, kept = (tmp_path / name for name in ("run", "work", "kept"))
    for made in (folder, working, kept):
        made.mkdir()
    for name in ("old.txt", "gone.txt"):
        (working / name).write_text("as before")
    done = _run(_NAMESPACES, folder, working, kept)
    if done.returncode == 9:
        pytest.skip(f"no namespaces here: {done.stdout}")
    assert done.returncode == 0, done.stderr
    assert {one.name: one.read_text() for one in working.iterdir()} == {
        "old.txt": "as before",
        "gone.txt": "as before",
    }
    assert (kept / "kept.txt").read_text() == "kept"
    assert (folder / "report").read_text() == "report"


_LANDLOCK = """
    import sys
    from pathlib import Path
    from planner.worker.script.landlock import allow_writes_below
    working, kept = map(Path, sys.argv[1:])
    allow_writes_below([kept])
    Path(kept, "kept.txt").write_text("kept")
    assert Path(working, "old.txt").read_text() == "as before"
    for change in (
        lambda: Path(working, "new.txt").write_text("new"),
        lambda: Path(working, "old.txt").write_text("changed"),
        lambda: Path(working, "old.txt").unlink(),
        lambda: Path(working, "old.txt").rename(Path(kept, "moved.txt")),
    ):
        try:
            change()
        except OSError:
            continue
        sys.exit("a write was allowed")
"""


@pytest.mark.skipif(not version(), reason="this kernel has no Landlock")
def test_landlock_makes_writes_fail(tmp_path: Path) -> None:
    working, kept = tmp_path / "work", tmp_path / "kept"
    working.mkdir()
    kept.mkdir()
    (working / "old.txt").write_text("as before")
    done = _run(_LANDLOCK, working, kept)
    assert done.returncode == 0, done.stderr
    assert [one.name for one in working.iterdir()] == ["old.txt"]
    assert (working / "old.txt").read_text() == "as before"
    assert (kept / "kept.txt").read_text() == "kept"


_MOUNTINFO = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:1 / /é\040b rw - ext4 /dev/vdb rw
31 27 0:2 / /fixed ro,nosuid - tmpfs t rw
32 27 0:2 / /super rw - squashfs t ro
33 27 0:3 / /proc rw - proc proc rw
""".strip()


def test_mounts_are_read() -> None:
    found = {str(one.place): (one.kind, one.is_read_only) for one in mounted(_MOUNTINFO)}
    assert found == {
        "/": ("ext4", False),
        "/é b": ("ext4", False),
        "/fixed": ("tmpfs", True),
        "/super": ("squashfs", True),
        "/proc": ("proc", False),
    }


def test_a_folder_with_a_mount_below_is_taken_apart(tmp_path: Path) -> None:
    for name in ("one", "two/inner", "fixed"):
        (tmp_path / name).mkdir(parents=True)
    mounts = [
        Mounted(place=tmp_path / "two" / "inner", kind="ext4", is_read_only=False),
        Mounted(place=tmp_path / "fixed", kind="tmpfs", is_read_only=True),
    ]
    found = [one for one in overlaid(mounts, [tmp_path]) if one.is_relative_to(tmp_path)]
    assert found == [tmp_path / "one", tmp_path / "two" / "inner"]
