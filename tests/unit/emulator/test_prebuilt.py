"""Builds out of an installed package: what is in the wheel, and that no compiler is called then."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from planner.emulator import prebuilt
from planner.emulator.build import build_key
from planner.emulator.cache import VARIABLE
from planner.emulator.prebuilt import PACKAGE, prebuilt_folder, taken
from planner.emulator.replay_library import library_key
from planner.emulator.sealed import opened_seal, seal
from planner.emulator.torch_install import find_torch
from planner.emulator.wheel import devices_wheel

ROOT = Path(__file__).parents[3]
KEY = "torch-9-0123456789abcdef"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with one sealed build, without its link, as from a wheel."""
    built = tmp_path / PACKAGE / KEY
    (built / "driver").mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").touch()
    (built / "libplanner_device.so").write_bytes(b"library")
    (built / "driver" / "libcuda.so.1").symlink_to("../libplanner_device.so")
    seal(built, {"libraries": ["libplanner_device.so"]})
    (built / "driver" / "libcuda.so.1").unlink()
    (built / "driver").rmdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return built


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_a_build_is_taken_whole(package: Path, work: Path) -> None:
    document = taken(KEY, work)
    assert document == {"libraries": ["libplanner_device.so"]}
    assert (work / "driver" / "libcuda.so.1").read_bytes() == b"library"
    seal(work, document)
    assert opened_seal(work)["libraries"] == ["libplanner_device.so"]


def test_another_key_is_not_taken(package: Path, work: Path) -> None:
    assert prebuilt_folder(KEY) == package
    assert prebuilt_folder("torch-9-fedcba9876543210") is None
    assert taken("torch-9-fedcba9876543210", work) is None


def test_a_damaged_build_is_not_taken(package: Path, work: Path) -> None:
    (package / "libplanner_device.so").write_bytes(b"Library")
    assert taken(KEY, work) is None
    assert list(work.iterdir()) == []


def test_without_the_package_there_is_none(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "PACKAGE", "a_package_that_is_not_installed")
    assert taken(KEY, work) is None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return devices_wheel(tmp_path_factory.mktemp("wheel"), [find_torch()])


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_own_code_alone(wheel: Path) -> None:
    found = contents(wheel)
    keys = {name.split("/")[1] for name in found if name.count("/") == 2}
    assert {build_key(find_torch()), library_key()} <= keys
    named = {"__init__.py", "device.json", "bridge_driver.so", "libplanner_device.so",
             "libplanner_replay.so", "METADATA", "WHEEL", "RECORD"}  # fmt: skip
    names = {name.rsplit("/", 1)[1] for name in found}
    assert all(name in named or name.startswith("emulated_") for name in names)
    theirs = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in find_torch().include_folders
        for path in folder.parent.glob("lib/*.so*")
        if path.stat().st_size < 8 << 20  # none of ours is larger
    }
    assert theirs
    for content in found.values():
        assert len(content) < 8 << 20
        assert hashlib.sha256(content).hexdigest() not in theirs
        assert b"NVIDIA Corporation" not in content
    for key in keys:
        sealed = json.loads(found[f"{PACKAGE}/{key}/device.json"])["files"]
        inside = {name.split("/")[2] for name in found if name.startswith(f"{PACKAGE}/{key}/")}
        assert inside == {*sealed, "device.json"}


@pytest.mark.slow
def test_an_installed_wheel_needs_no_compiler(wheel: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home, bare = tmp_path / "venv", tmp_path / "bin"
    bare.mkdir()
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps",
         "--quiet", wheel],
        check=True,
    )  # fmt: skip
    (site,) = home.glob("lib/python*/site-packages")
    own = [entry for entry in sys.path if entry.endswith("-packages")]
    (site / "others.pth").write_text("\n".join(own))
    code = (
        "from planner.emulator.build import emulated_device\n"
        "from planner.emulator.replay_library import library\n"
        "from planner.emulator.torch_install import find_torch\n"
        "device = emulated_device(find_torch(), print)\n"
        "assert library() is not None\n"
        "assert all(path.is_file() for path in device.libraries)\n"
        "assert (device.driver_folder / 'libcuda.so.1').resolve().is_file()\n"
    )
    environment = {"PATH": str(bare), VARIABLE: str(tmp_path / "cache")}
    done = subprocess.run(
        [python, "-c", code], cwd=ROOT, env={**environment, "HOME": os.environ.get("HOME", "/")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "taking the emulated device" in done.stdout
