"""Where torch is, and what an unsuitable one is told."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from planner.emulator import torch_install
from planner.emulator.torch_install import find_torch
from planner.errors import UnsupportedPlatformError


class FakePackages:
    """A folder of packages that is all there is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: str = "") -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def torch(self, version: str = "2.6.0+cu124", cuda: str = "'12.4'") -> None:
        self.write("torch/__init__.py")
        self.write("torch/version.py", f"__version__ = '{version}'\ncuda: Optional[str] = {cuda}\n")

    def cudnn(self, major: int, minor: int, patch: int) -> None:
        self.write("nvidia/cudnn/lib/libcudnn.so.9")
        self.write(
            "nvidia/cudnn/include/cudnn_version.h",
            f"#define CUDNN_MAJOR {major}\n#define CUDNN_MINOR {minor}\n"
            f"#define CUDNN_PATCHLEVEL {patch}\n",
        )


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePackages:
    """An interpreter that finds packages in a folder of ours and nowhere else."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _HIDDEN]:
        monkeypatch.delitem(sys.modules, name)
    standard = [entry for entry in sys.path if "site-packages" not in entry]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *standard])
    importlib.invalidate_caches()
    return FakePackages(tmp_path)


_HIDDEN = ("torch", "nvidia", "triton", "torchvision", "torchaudio")


def test_a_torch_with_everything(packages: FakePackages) -> None:
    packages.torch()
    packages.cudnn(9, 8, 0)
    packages.write("nvidia/cuda_runtime/include/cuda_runtime_api.h")
    packages.write("triton/__init__.py")
    packages.write("triton/backends/nvidia/include/cuda.h")
    packages.write("torchvision/__init__.py")
    found = find_torch()
    assert (found.version, found.cuda) == ("2.6.0+cu124", "12.4")
    assert found.folder == packages.folder / "torch"
    assert found.cudnn_version == "9.8.0"
    assert found.cudnn_answers_without_device
    assert [path.parent.name for path in found.include_folders] == [
        "cuda_runtime",
        "cudnn",
        "nvidia",
    ]  # triton's copies last
    assert found.extension_folders == (packages.folder / "torchvision",)


@pytest.mark.parametrize(
    ("version", "bridged"), [((9, 7, 1), False), ((9, 8, 0), True), ((9, 10, 2), True)]
)
def test_which_cudnn_answers_without_a_device(
    packages: FakePackages, version: tuple[int, int, int], bridged: bool
) -> None:
    packages.torch()
    packages.cudnn(*version)
    assert find_torch().cudnn_answers_without_device == bridged


def test_no_cudnn_is_no_error(packages: FakePackages) -> None:
    packages.torch()
    found = find_torch()
    assert found.cudnn_library is None
    assert found.cudnn_version is None
    assert not found.cudnn_answers_without_device


def test_no_torch_names_the_command(packages: FakePackages) -> None:
    with pytest.raises(UnsupportedPlatformError, match="run: pip install torch") as caught:
        find_torch()
    assert sys.executable in str(caught.value)


def test_a_file_that_hides_torch(packages: FakePackages) -> None:
    hiding = packages.write("torch.py", "raise RuntimeError('imported')")
    with pytest.raises(UnsupportedPlatformError, match="hides the package torch; rename it") as got:
        find_torch()
    assert str(hiding) in str(got.value)


@pytest.mark.parametrize("cuda", ["None", ""])
def test_a_build_without_cuda_says_where_the_other_is(packages: FakePackages, cuda: str) -> None:
    packages.torch("2.6.0+cpu", cuda)
    with pytest.raises(
        UnsupportedPlatformError, match=r"torch 2\.6\.0\+cpu .* without CUDA"
    ) as got:
        find_torch()
    assert "--index-url https://download.pytorch.org/whl/cu" in str(got.value)
    assert "no GPU and no driver needed" in str(got.value)


@pytest.mark.parametrize("version", ["2.5.1+cu121", "1.13.0"])
def test_too_old(packages: FakePackages, version: str) -> None:
    packages.torch(version)
    with pytest.raises(UnsupportedPlatformError, match=r"too old; run: pip install 'torch>=2\.6'"):
        find_torch()


@pytest.mark.parametrize("version", ["2.6.0", "2.10.0+cu128", "3.0.0a0+git1234"])
def test_new_enough(packages: FakePackages, version: str) -> None:
    packages.torch(version)
    assert find_torch().version == version


def test_a_torch_without_version(packages: FakePackages) -> None:
    packages.write("torch/__init__.py")
    with pytest.raises(UnsupportedPlatformError, match="names no version"):
        find_torch()


@pytest.mark.parametrize(
    ("system", "machine", "advice"),
    [
        ("Windows", "AMD64", "WSL 2"),
        ("Darwin", "arm64", "--platform linux/amd64"),
        ("Linux", "aarch64", "Linux x86-64 machine or in such a container"),
        ("FreeBSD", "amd64", "no GPU is needed"),
    ],
)
def test_other_platforms_are_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, advice: str
) -> None:
    monkeypatch.setattr(torch_install.platform, "system", lambda: system)
    monkeypatch.setattr(torch_install.platform, "machine", lambda: machine)
    with pytest.raises(UnsupportedPlatformError, match=f"{system} on {machine}") as caught:
        find_torch()
    assert advice in str(caught.value)


def test_finding_the_installed_torch_does_not_import_it() -> None:
    before = set(sys.modules)
    found = find_torch()
    assert (found.folder / "version.py").is_file()
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in _HIDDEN}
