"""Finds the CUDA functions that the installed torch imports, and the libraries it needs.

In: a TorchInstall. Out: CudaImports, read from the compiled libraries with binutils, so that one
source serves every version of torch. Other packages are not read: they may be installed later, and
the headers of torch's own wheels declare the functions that they call.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from planner.emulator.torch_install import TorchInstall
from planner.errors import BuildError

_LIBRARY = re.compile(
    r"^lib(cudart|cublas|cublasLt|cudnn\w*|cusparse|cusparseLt|cufft|curand|cusolver|cusolverMg|"
    r"nvrtc|nccl|cupti|nvshmem_host|cufile|cuda|nvToolsExt|nvJitLink|nvtx3interop)\.so[.\d]*$"
)
_SYMBOL = re.compile(
    r"^(__cuda|cuda|cublas|cudnn|cusolver|cusparse|cufft|curand|nccl|nvrtc|cupti|nvshmem|nvml|"
    r"cuFile|nvtx|cu[A-Z])"
)
# In "Version definition". The first line, with the flag BASE, is excluded: it names the library.
_DEFINED = re.compile(r"^\s+(?:0x)?[0-9a-f]+: Rev: .*Flags: none .*Name: (\S+)", re.MULTILINE)
_DRIVER_FUNCTION = re.compile(r"\b(cu[A-Z][A-Za-z0-9]+)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaImports:
    """Functions that torch imports, and the libraries to replace (SONAME -> version nodes)."""

    functions: frozenset[str]
    version_nodes: dict[str, frozenset[str]]


def read_cuda_imports(torch: TorchInstall) -> CudaImports:
    """Reads every compiled library of torch and of the packages that extend it.

    Raises:
        BuildError: binutils is missing or a library cannot be read.
    """
    functions: set[str] = set()
    # Opened by name at run time: no library lists these two.
    nodes: dict[str, set[str]] = {"libcuda.so.1": set(), "libnvidia-ml.so.1": set()}
    for library in _compiled_libraries(torch):
        header = _run(["readelf", "-W", "-d", "-V", str(library)])
        for soname in re.findall(r"Shared library: \[([^\]]+)\]", header):
            if _LIBRARY.match(soname):
                nodes.setdefault(soname, set())
        for soname, node in _needed_versions(header):
            if _LIBRARY.match(soname):
                nodes.setdefault(soname, set()).add(node)
        for line in _run(["nm", "-D", "--undefined-only", str(library)]).splitlines():
            name = line.split()[-1].partition("@")[0]
            if _SYMBOL.match(name):
                functions.add(name)
    for library in _libraries_of_the_wheels(torch):
        defined = _DEFINED.findall(_run(["readelf", "-W", "-V", str(library)]))
        nodes.setdefault(library.name, set()).update(defined)
    if torch.triton_folder is not None:
        driver = torch.triton_folder / "backends" / "nvidia" / "driver.c"
        if driver.is_file():  # triton looks these up by name when torch.compile starts it
            functions |= set(_DRIVER_FUNCTION.findall(driver.read_text(encoding="utf-8")))
    return CudaImports(
        functions=frozenset(functions),
        version_nodes={soname: frozenset(found) for soname, found in sorted(nodes.items())},
    )


def _libraries_of_the_wheels(torch: TorchInstall) -> list[Path]:
    """Returns NVIDIA's libraries in torch's wheels: other packages need more of them than torch."""
    folders = {include.parent / "lib" for include in torch.include_folders}
    found = sorted(path for folder in folders for path in folder.glob("lib*.so.*"))
    # Only cuDNN itself loads its parts.
    names = [path for path in found if not path.name.startswith("libcudnn_")]
    return [path for path in names if _LIBRARY.match(path.name)]


def _compiled_libraries(torch: TorchInstall) -> list[Path]:
    libraries = sorted((torch.folder / "lib").glob("lib*.so"))
    for folder in torch.extension_folders:
        libraries += sorted(folder.rglob("*.so"))
    return libraries


def _needed_versions(readelf_output: str) -> list[tuple[str, str]]:
    """Returns (SONAME, version node) pairs of the section "Version needs"."""
    pairs = []
    soname = ""
    for line in readelf_output.splitlines():
        if match := re.search(r"\bFile: (\S+)", line):
            soname = match.group(1)
        elif soname and (match := re.match(r"^\s+(?:0x)?[0-9a-f]+:\s+Name: (\S+)", line)):
            pairs.append((soname, match.group(1)))
    return pairs


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BuildError(
            f"{command[0]} was not found; it is needed once to build the emulated device. "
            "Install binutils: apt-get install binutils, dnf install binutils"
        ) from None
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed: {done.stderr.strip()[:500]}")
    return done.stdout
