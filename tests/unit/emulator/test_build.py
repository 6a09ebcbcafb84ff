"""The build: once, with a compiler and headers, or with words that say what is missing."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.emulator import build
from planner.emulator.build import EmulatedDevice, build_key, emulated_device, find_compiler
from planner.emulator.cache import VARIABLE
from planner.emulator.torch_install import find_torch
from planner.errors import BuildError, UnsupportedPlatformError


@pytest.mark.slow
def test_what_is_built(device: EmulatedDevice) -> None:
    assert stat.S_IMODE(device.folder.stat().st_mode) == 0o700
    names = {path.name for path in device.folder.iterdir()}
    assert {"libplanner_device.so", "device.json", "driver", "emulated_cuda.1"} <= names
    assert all(path.is_file() for path in (*device.libraries, device.bridge_driver))
    assert (device.driver_folder / "libcuda.so.1").resolve().is_file()
    assert not [name for name in names if name.startswith(("objects", "tmp"))]
    size_bytes = sum(path.stat().st_size for path in device.folder.rglob("*") if path.is_file())
    assert size_bytes < 5_000_000


TWO_AT_ONCE = f"""
import sys
sys.path.insert(0, {str(Path(planner.__file__).parents[1])!r})
from planner.emulator import build
from planner.emulator.torch_install import find_torch

def pretend(torch, work, progress):
    import time
    time.sleep(1)
    print("built", flush=True)
    return {{"libraries": []}}

build.build_device = pretend
print("folder", build.emulated_device(find_torch(), lambda text: print("said", text)).folder)
"""


def test_two_processes_at_once_make_one_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO_AT_ONCE], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    texts = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("built" in text.splitlines() for text in texts) == 1
    assert sum("waiting for another process" in text for text in texts) == 1
    folders = {line for text in texts for line in text.splitlines() if line.startswith("folder")}
    assert len(folders) == 1


def test_no_compiler_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UnsupportedPlatformError, match=r"no C\+\+ compiler") as caught:
        find_compiler()
    for word in ("apt-get install g++", "dnf install gcc-c++", "conda install", "$CXX"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "taken"),
    [
        ("my-c++", "my-c++"),
        ("my-c++ -m64 -march=native", "my-c++"),
        ("ccache my-c++", "my-c++"),
        ("not-there", "g++"),
        ("", "g++"),
    ],
)
def test_which_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, taken: str
) -> None:
    for name in ("my-c++", "g++", "clang++", "ccache"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", chosen)
    assert find_compiler() == taken


def test_missing_headers_say_what_to_install(tmp_path: Path) -> None:
    torch = replace(find_torch(), include_folders=())
    with pytest.raises(UnsupportedPlatformError, match=r"header cuda_runtime_api\.h was not found"):
        build.build_device(torch, tmp_path, print)
    for header in build._REQUIRED_HEADERS:
        if header != "crt/host_defines.h":
            (tmp_path / header).write_text("")
    torch = replace(torch, include_folders=(tmp_path,))
    with pytest.raises(UnsupportedPlatformError, match=r"crt/host_defines\.h.*pip install triton"):
        build.build_device(torch, tmp_path, print)


def compiler(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fails").write_text(f"#!/bin/sh\n{text}\nexit 1\n")
    (folder / "fails").chmod(0o755)
    monkeypatch.setenv("CXX", str(folder / "fails"))


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path, "printf 'error: \\377 no such thing\\n' >&2", monkeypatch)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(BuildError, match="building the emulated device failed") as caught:
        emulated_device(find_torch())
    assert "no such thing" in str(caught.value)
    assert not [p for p in (tmp_path / "cache" / "device").iterdir() if p.suffix != ".lock"]


def test_a_disk_that_the_compiler_finds_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, "echo 'fatal error: a.o: No space left on device' >&2", monkeypatch)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(BuildError, match=f"is full.*set {VARIABLE}"):
        emulated_device(find_torch())
    assert not [p for p in (tmp_path / "cache" / "device").iterdir() if p.suffix != ".lock"]


def test_compilers_that_still_run_end_before_their_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes_on = """
while [ "$1" != -o ] && [ $# -gt 0 ]; do shift; done
case "$2" in
*.o)
    folder=$(dirname "$2")
    if mkdir "$folder/../first"; then echo "fatal error: No space left on device" >&2; exit 1; fi
    n=0
    while [ $n -lt 40 ]; do echo 1 > "$folder/part.$$.$n"; sleep 0.02; n=$((n + 1)); done;;
esac
"""
    compiler(tmp_path, writes_on, monkeypatch)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(OSError, match="No space left"):
        build.build_device(find_torch(), work, print)
    assert [path.name for path in work.iterdir()] == ["first"]


def test_room_is_looked_for_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr("planner.emulator.cache.free_bytes", lambda folder: 9_999_999)
    monkeypatch.setattr(build, "build_device", lambda *rest: pytest.fail("it was built"))
    with pytest.raises(BuildError, match=r"is full: .* needs about 10 MB there; free some"):
        emulated_device(find_torch())


def pretended(folder: Path) -> Path:
    """What a build leaves, without a compiler."""
    (folder / "driver").mkdir()
    (folder / "driver" / "libcuda.so.1").symlink_to("../emulated_cuda.1")
    for name in (build.DEVICE_LIBRARY, "emulated_cuda.1", build.BRIDGE_DRIVER_LIBRARY):
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    return apply


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        shutil.rmtree(folder)
        make(folder)

    return apply


MANIFEST, LIBRARY, LINK = "device.json", build.DEVICE_LIBRARY, "driver/libcuda.so.1"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "manifest empty": lambda folder: (folder / MANIFEST).write_text(""),
    "manifest an empty object": lambda folder: (folder / MANIFEST).write_text("{}"),
    "manifest a list": lambda folder: (folder / MANIFEST).write_text("[]"),
    "manifest too deep": lambda folder: (folder / MANIFEST).write_text("[" * 100_000),
    "manifest truncated": lambda folder: os.truncate(folder / MANIFEST, 100),
    "manifest zeroed": lambda folder: (folder / MANIFEST).write_bytes(bytes(500)),
    "manifest missing": lambda folder: (folder / MANIFEST).unlink(),
    "manifest names a path": edited(
        MANIFEST, lambda document: document["libraries"].append("../../evil.so")
    ),
    "manifest names a file outside": edited(
        MANIFEST, lambda document: document["files"].update({"../x": document["files"][LIBRARY]})
    ),
    "manifest names another file": edited(
        MANIFEST, lambda document: document.update(libraries=["unknown.so"])
    ),
    "library truncated": lambda folder: os.truncate(folder / LIBRARY, 4096),
    "library longer": lambda folder: os.truncate(folder / LIBRARY, 1 << 20),
    "library zeroed": lambda folder: (folder / LIBRARY).write_bytes(
        bytes((folder / LIBRARY).stat().st_size)
    ),
    "library empty": lambda folder: os.truncate(folder / LIBRARY, 0),
    "library missing": lambda folder: (folder / LIBRARY).unlink(),
    "library a folder": lambda folder: [(folder / LIBRARY).unlink(), (folder / LIBRARY).mkdir()],
    "library a fifo": lambda folder: [(folder / LIBRARY).unlink(), os.mkfifo(folder / LIBRARY)],
    "library a link": lambda folder: [
        shutil.copy(folder / LIBRARY, folder / "copy"),
        (folder / LIBRARY).unlink(),
        (folder / LIBRARY).symlink_to("copy"),
    ],
    "link missing": lambda folder: (folder / LINK).unlink(),
    "link elsewhere": lambda folder: [(folder / LINK).unlink(), (folder / LINK).symlink_to("/x")],
    "link a file": lambda folder: [(folder / LINK).unlink(), (folder / LINK).write_text("")],
    "key an empty folder": replaced_by(Path.mkdir),
    "key a file": replaced_by(Path.touch),
    "key a dangling link": replaced_by(lambda folder: folder.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_built_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    builds: list[Path] = []

    def pretend(torch: object, work: Path, progress: object) -> dict[str, Any]:
        builds.append(pretended(work))
        return {"libraries": [build.DEVICE_LIBRARY, "emulated_cuda.1"]}

    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(build, "build_device", pretend)
    torch, said = find_torch(), list[str]()
    before = emulated_device(torch)
    assert emulated_device(torch, said.append) == before
    assert (len(builds), said) == (1, [])
    DAMAGES[damage](before.folder)
    assert emulated_device(torch, said.append) == before
    assert emulated_device(torch, said.append) == before
    assert len(builds) == 2
    assert len(said) == 1
    assert "again, because the one in the cache is damaged (" in said[0]
    assert all(library.read_bytes() for library in before.libraries)
    left = [path.name for path in before.folder.parent.iterdir() if path.suffix != ".lock"]
    assert left == [before.folder.name]


def test_a_disk_that_gives_back_other_bytes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(torch: object, work: Path, progress: object) -> dict[str, Any]:
        pretended(work)
        return {"libraries": ["not-there.so"]}

    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(build, "build_device", pretend)
    with pytest.raises(BuildError, match=r"is not what was written \(device\.json is not whole\)"):
        emulated_device(find_torch())


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk takes root")
def test_a_disk_that_is_really_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k,mode=700", "none", disk],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv(VARIABLE, str(disk))
        with pytest.raises(BuildError, match=f"is full.*set {VARIABLE}"):
            emulated_device(find_torch())
        monkeypatch.setattr("planner.emulator.cache.NEEDED_BYTES", 0)  # full while it is built
        with pytest.raises(BuildError, match=f"is full.*set {VARIABLE}"):
            emulated_device(find_torch())
        assert not [p for p in (disk / "device").iterdir() if p.suffix != ".lock"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_key_follows_all_that_is_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = find_torch()
    key = build_key(torch)
    assert key == build_key(torch)
    assert key.startswith(f"torch-{torch.version}-")
    assert build_key(replace(torch, version="9.9")) != key
    assert build_key(replace(torch, cudnn_version="9.9.9")) != key
    assert build_key(replace(torch, extension_folders=(tmp_path / "torchother",))) != key
    sources = tmp_path / "native"
    shutil.copytree(build.NATIVE, sources)
    monkeypatch.setattr(build, "NATIVE", sources)
    assert build_key(torch) == key
    with (sources / "memory.cpp").open("a") as file:
        file.write("// changed\n")
    assert build_key(torch) != key


@pytest.mark.slow
def test_the_library_loads_without_torch(device: EmulatedDevice) -> None:
    program = (
        "import ctypes, sys\nfor path in sys.argv[1:]: ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)\n"
    )
    paths = [str(path) for path in device.libraries]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(ctypes.CDLL(paths[0]), ctypes.CDLL)
