"""What a compiled library asks of CUDA, read from the library itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from planner.emulator.symbols import read_cuda_imports
from planner.emulator.torch_install import TorchInstall
from planner.errors import BuildError


def install(folder: Path, **changes: object) -> TorchInstall:
    fields: dict[str, object] = {
        "version": "2.6.0",
        "cuda": "12.4",
        "folder": folder,
        "include_folders": (),
        "extension_folders": (),
        "cudnn_library": None,
        "cudnn_version": None,
        "triton_folder": None,
    }
    return TorchInstall(**{**fields, **changes})  # type: ignore[arg-type] # mixed values


def library(path: Path, source: str, *options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(path), *options]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A torch whose library wants a versioned libcudart.so.13, and other functions."""
    nodes = tmp_path / "nodes.map"
    nodes.write_text("libcudart.so.13 { global: cudaMalloc; };\n")
    library(
        tmp_path / "cudart" / "libcudart.so",
        "int cudaMalloc() { return 0; }",
        "-Wl,-soname,libcudart.so.13",
        f"-Wl,--version-script={nodes}",
    )
    library(
        tmp_path / "torch" / "lib" / "libtorch_cuda.so",
        "int use() { return cudaMalloc() + cublasCreate_v2() + ncclSend() + cuInit(); }"
        " int other() { return currency() + printf(0); } int cudaOwn() { return 0; }",
        "-Wl,--no-as-needed",
        f"-L{tmp_path / 'cudart'}",
        "-lcudart",
    )
    return tmp_path / "torch"


def test_functions_and_version_nodes(folder: Path) -> None:
    found = read_cuda_imports(install(folder))
    assert found.functions == {"cudaMalloc", "cublasCreate_v2", "ncclSend", "cuInit"}
    assert found.version_nodes["libcudart.so.13"] == {"libcudart.so.13"}
    assert found.version_nodes["libcuda.so.1"] == frozenset()
    assert not [name for name in found.version_nodes if name.startswith("libc.so")]


def test_extensions_and_triton_count_as_well(folder: Path, tmp_path: Path) -> None:
    library(tmp_path / "torchvision" / "sub" / "_C.so", "int f() { return cudaExtra(); }")
    driver = tmp_path / "triton" / "backends" / "nvidia" / "driver.c"
    driver.parent.mkdir(parents=True)
    driver.write_text('dlsym(handle, "cuLaunchKernelEx"); // cuTensorMap\n cuda')
    found = read_cuda_imports(
        install(
            folder,
            extension_folders=(tmp_path / "torchvision",),
            triton_folder=tmp_path / "triton",
        )
    )
    assert {"cudaExtra", "cuLaunchKernelEx", "cudaMalloc"} <= found.functions


def test_libraries_of_the_wheels_that_torch_asks_nothing_of(folder: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "nvidia" / "cu13"
    nodes = tmp_path / "curand.map"
    nodes.write_text("libcurand.so.10 { global: curandCreateGenerator; };\n")
    library(
        wheel / "lib" / "libcurand.so.10",
        "int curandCreateGenerator() { return 0; }",
        "-Wl,-soname,libcurand.so.10",
        f"-Wl,--version-script={nodes}",
    )
    for name in ("libcudnn_ops.so.9", "libnvperf_host.so.1"):  # nobody asks for these by name
        library(wheel / "lib" / name, "int own() { return 0; }")
    found = read_cuda_imports(install(folder, include_folders=(wheel / "include",)))
    assert found.version_nodes["libcurand.so.10"] == {"libcurand.so.10"}
    assert found.version_nodes["libcudart.so.13"] == {"libcudart.so.13"}
    assert not {"libcudnn_ops.so.9", "libnvperf_host.so.1"} & found.version_nodes.keys()


def test_no_binutils_names_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"readelf was not found.*apt-get install binutils"):
        read_cuda_imports(install(folder))


def test_a_library_that_is_none(folder: Path) -> None:
    (folder / "lib" / "libbroken.so").write_text("not a library")
    with pytest.raises(BuildError, match=r"libbroken\.so"):
        read_cuda_imports(install(folder))
