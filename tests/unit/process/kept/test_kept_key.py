"""The key: each part of it makes another one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from planner.config.published import Library, PublishedModel
from planner.config.target import Target, TargetKind
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import TorchInstall
from planner.process.kept import key, sources

DEVICE = EmulatedDevice(
    folder=Path("/cache/torch-1"),
    libraries=(),
    bridge_driver=Path("b.so"),
    driver_folder=Path("driver"),
)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The arguments of key_of."""

    target: Target
    torch: TorchInstall
    device: EmulatedDevice
    environment: tuple[tuple[str, str], ...]
    profile: str = "name=T4\nmajor=7\nminor=5\n"

    def key(self) -> str:
        return key.key_of(
            self.target,
            torch=self.torch,
            device=self.device,
            profile=self.profile,
            environment=dict(self.environment),
        )


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    (tmp_path / "version.py").write_text("")
    return Parts(
        target=Target(kind=TargetKind.FILE, location="net.py", arguments=(("depth", 2),)),
        torch=TorchInstall(
            version="2.9.0",
            cuda="13.0",
            folder=tmp_path,
            include_folders=(),
            extension_folders=(),
            cudnn_library=None,
            cudnn_version="9.20.0",
            triton_folder=None,
        ),
        device=DEVICE,
        environment=(("PYTORCH_CUDA_ALLOC_CONF", ""), ("HOME", "/home/a")),
    )


def of_torch(**changes: object) -> Callable[[Parts], Parts]:
    return lambda parts: replace(parts, torch=replace(parts.torch, **changes))  # type: ignore[arg-type] # fields of TorchInstall


def of_target(**changes: object) -> Callable[[Parts], Parts]:
    return lambda parts: replace(parts, target=replace(parts.target, **changes))  # type: ignore[arg-type] # fields of Target


CHANGES: dict[str, Callable[[Parts], Parts]] = {
    "file of the target": of_target(location="other.py"),
    "name in it": of_target(name="small"),
    "arguments": of_target(arguments=(("depth", 3),)),
    "torch": of_torch(version="2.9.1"),
    "CUDA": of_torch(cuda="12.8"),
    "cuDNN": of_torch(cudnn_version="9.21.0"),
    "library of cuDNN": of_torch(cudnn_library=Path("/elsewhere")),
    "folder of torch": of_torch(folder=Path("/elsewhere")),
    "emulated device": lambda parts: replace(
        parts, device=replace(DEVICE, folder=Path("/cache/torch-2"))
    ),
    "variable of a library": lambda parts: replace(
        parts, environment=(("PYTORCH_CUDA_ALLOC_CONF", "x"),)
    ),
    "new variable of a library": lambda parts: replace(
        parts, environment=(*parts.environment, ("OMP_NUM_THREADS", "1"))
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_each_part_makes_another_key(parts: Parts, change: Callable[[Parts], Parts]) -> None:
    assert parts.key() == parts.key()
    assert change(parts).key() != parts.key()


def test_the_card_counts_where_libraries_see_it_while_they_are_imported(parts: Parts) -> None:
    other = replace(parts, profile="name=A100\nmajor=8\nminor=0\n")
    assert other.key() == parts.key()
    model = of_target(published=PublishedModel(library=Library.TIMM, name="resnet50"))
    assert model(other).key() != model(parts).key()


def test_variables_that_no_library_reads_do_not_count(parts: Parts) -> None:
    other = replace(parts, environment=(("PYTORCH_CUDA_ALLOC_CONF", ""), ("HOME", "/home/b")))
    assert other.key() == parts.key()


AROUND: dict[str, Callable[[pytest.MonkeyPatch, Path], object]] = {
    "torch's file": lambda patch, folder: (folder / "version.py").write_text("# edited"),
    "version of planner": lambda patch, _: patch.setattr(key, "__version__", "9.9"),
    "format": lambda patch, _: patch.setattr(key, "_FORMAT", 999),
    "sys.path": lambda patch, _: patch.setattr(sys, "path", [*sys.path, "/more"]),
    "Python": lambda patch, _: patch.setattr(sys, "version", "3.99"),
    "interpreter": lambda patch, _: patch.setattr(sys, "executable", "/other/python"),
    "working directory": lambda patch, folder: patch.chdir(folder),
    "processors": lambda patch, _: patch.setattr(os, "cpu_count", lambda: 77),
    "processors of this process": lambda patch, _: patch.setattr(
        os, "sched_getaffinity", lambda _: set(range(77))
    ),
}


@pytest.mark.parametrize("change", AROUND.values(), ids=AROUND.keys())
def test_what_is_around_makes_another_key(
    parts: Parts,
    change: Callable[[pytest.MonkeyPatch, Path], object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    before = parts.key()
    change(monkeypatch, tmp_path)
    assert parts.key() != before


def test_planners_own_sources_count(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "planner"
    (package / "worker").mkdir(parents=True)
    (package / "cli").mkdir()
    (package / "worker" / "load.py").write_text("a = 1")
    monkeypatch.setattr(sources, "PACKAGE", package)
    before = parts.key()
    (package / "cli" / "words.py").write_text("")  # makes no answer
    assert parts.key() == before
    (package / "worker" / "load.py").write_text("a = 11")
    assert parts.key() != before
