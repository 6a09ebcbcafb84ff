"""Finds the installed torch and NVIDIA's wheels without importing torch.

In: the interpreter's import path. Out: TorchInstall, or an error that says what to install if this
torch cannot be the base of the emulated device.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from planner.errors import UnsupportedPlatformError

MINIMUM_TORCH = (2, 6)
# First cuDNN whose plans can be built from a description of the device (backend descriptor
# CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR): docs.nvidia.com/deeplearning/cudnn release notes 9.8.
MINIMUM_BRIDGED_CUDNN = (9, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchInstall:
    """The CUDA build of torch that the emulated device is made for.

    `include_folders` are the wheels' headers in search order; `extension_folders` hold compiled
    packages that call CUDA as well (torchvision, torchaudio).
    """

    version: str
    cuda: str
    folder: Path
    include_folders: tuple[Path, ...]
    extension_folders: tuple[Path, ...]
    cudnn_library: Path | None
    cudnn_version: str | None
    triton_folder: Path | None

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Returns files that differ between any two installations of torch."""
        return (self.folder / "version.py", self.folder / "lib" / "libtorch_cuda.so")

    @property
    def cudnn_answers_without_device(self) -> bool:
        """Returns whether this cuDNN can choose engines and workspaces for an absent card."""
        if self.cudnn_library is None or self.cudnn_version is None:
            return False
        major, minor = (int(part) for part in self.cudnn_version.split(".")[:2])
        return (major, minor) >= MINIMUM_BRIDGED_CUDNN


def find_torch(site_packages: Path | None = None) -> TorchInstall:
    """Returns the torch of this interpreter, or the one in a folder where pip has installed it.

    Raises:
        UnsupportedPlatformError: not Linux on x86-64, no torch, torch without CUDA, too old.
    """
    _check_platform()
    folder = _package_folder("torch", site_packages)
    if folder is None:
        hiding = _file_named("torch", site_packages)
        if hiding is not None:
            raise UnsupportedPlatformError(
                f"{hiding} hides the package torch; rename it or start from another folder"
            )
        raise UnsupportedPlatformError(
            f"torch is not installed for {site_packages or sys.executable}; run: pip install torch"
        )
    version, cuda = _torch_version(folder)
    if cuda is None:
        raise UnsupportedPlatformError(
            f"torch {version} in {folder} is a build without CUDA; the emulated device runs the "
            "CUDA build (no GPU and no driver needed). Install it with: pip install "
            "--force-reinstall torch --index-url https://download.pytorch.org/whl/cu126"
        )
    if _numbers(version)[:2] < MINIMUM_TORCH:
        wanted = ".".join(map(str, MINIMUM_TORCH))
        raise UnsupportedPlatformError(
            f"torch {version} in {folder} is too old; run: pip install 'torch>={wanted}'"
        )
    nvidia = _namespace_folders("nvidia", site_packages)
    triton = _package_folder("triton", site_packages)
    includes = [include for root in nvidia for include in sorted(root.glob("*/include"))]
    if triton is not None:
        # The runtime wheel lacks crt/host_defines.h; triton ships a copy. Its folder is the last,
        # so that the wheels' own headers win.
        includes.append(triton / "backends" / "nvidia" / "include")
    library = _first(path for root in nvidia for path in root.glob("cudnn/lib/libcudnn.so.9"))
    return TorchInstall(
        version=version,
        cuda=cuda,
        folder=folder,
        include_folders=tuple(path for path in includes if path.is_dir()),
        extension_folders=tuple(
            found
            for name in ("torchvision", "torchaudio")
            if (found := _package_folder(name, site_packages))
        ),
        cudnn_library=library,
        cudnn_version=_cudnn_version(library),
        triton_folder=triton,
    )


def _check_platform() -> None:
    system, machine = platform.system(), platform.machine()
    if system == "Linux" and machine in ("x86_64", "AMD64"):
        return
    advice = {
        "Windows": "run it in WSL 2 (Ubuntu) or in a Linux container",
        "Darwin": "run it in a linux/amd64 container (docker run --platform linux/amd64 ...)",
    }.get(system, "run it on a Linux x86-64 machine or in such a container; no GPU is needed")
    raise UnsupportedPlatformError(
        f"the emulated device needs Linux on x86-64, because it runs PyTorch's CUDA build; "
        f"this is {system} on {machine}: {advice}"
    )


def _torch_version(folder: Path) -> tuple[str, str | None]:
    file = folder / "version.py"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    version = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    cuda = re.search(r"^cuda(?:\s*:[^=]*)?\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    if version is None:
        raise UnsupportedPlatformError(f"{file} names no version of torch; reinstall torch")
    return version.group(1), cuda.group(1) if cuda else None


def _cudnn_version(library: Path | None) -> str | None:
    if library is None:
        return None
    header = library.parent.parent / "include" / "cudnn_version.h"
    if not header.is_file():
        return None
    text = header.read_text(encoding="utf-8", errors="replace")
    found = [
        re.search(rf"#define {name}\s+(\d+)", text)
        for name in ("CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")
    ]
    return ".".join(match.group(1) for match in found if match) if all(found) else None


def package_version(folder: Path) -> str:
    """Returns the version in the version.py of a compiled package, or "unknown"."""
    file = folder / "version.py"
    if not file.is_file():
        return "unknown"
    match = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", file.read_text(encoding="utf-8"))
    return match.group(1) if match else "unknown"


def _spec(name: str, site_packages: Path | None) -> ModuleSpec | None:
    if site_packages is None:
        return importlib.util.find_spec(name)
    return PathFinder.find_spec(name, [str(site_packages)])


def _package_folder(name: str, site_packages: Path | None) -> Path | None:
    try:
        spec = _spec(name, site_packages)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _file_named(name: str, site_packages: Path | None) -> str | None:
    """Returns the file of a module of that name, if a file hides the package."""
    try:
        spec = _spec(name, site_packages)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin


def _namespace_folders(name: str, site_packages: Path | None) -> tuple[Path, ...]:
    try:
        spec = _spec(name, site_packages)
    except (ImportError, ValueError):
        return ()
    if spec is None or not spec.submodule_search_locations:
        return ()
    return tuple(Path(location) for location in spec.submodule_search_locations)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0]))


def _first(paths: Iterable[Path]) -> Path | None:
    return next(iter(paths), None)
