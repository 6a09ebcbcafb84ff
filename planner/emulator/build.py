"""Builds the emulated device for one torch, once, into the user's cache folder.

In: TorchInstall and the sources in native/. Out: EmulatedDevice, a folder of shared libraries.
Needs a C++ compiler and the headers of the wheels; no CUDA toolkit, no GPU, no driver.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.emulator.cache import VARIABLE, DeviceCache
from planner.emulator.prebuilt import DISTRIBUTION, prebuilt_folder, taken
from planner.emulator.sealed import DamagedError, sealed_names
from planner.emulator.stubs import HEADERS, make_stubs
from planner.emulator.symbols import CudaImports, read_cuda_imports
from planner.emulator.torch_install import TorchInstall, package_version
from planner.errors import BuildError, UnsupportedPlatformError

NATIVE = Path(__file__).parent / "native"
DEVICE_LIBRARY = "libplanner_device.so"
BRIDGE_DRIVER_SOURCE = "bridge_driver.c"
BRIDGE_DRIVER_LIBRARY = "bridge_driver.so"
_LIBRARIES = "libraries"  # in the manifest
_COMPILERS = ("g++", "clang++", "c++")
_COMPILER_CACHES = ("ccache", "sccache", "distcc")
_OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-w")

_WHEELS = "Install torch with pip, which brings these wheels; builds from conda or source do not"
_REQUIRED_HEADERS = {
    **dict.fromkeys(
        (
            "cuda_runtime_api.h",
            "cuda.h",
            "cublas_v2.h",
            "cublasLt.h",
            "cudnn.h",
            "nccl.h",
            "nvrtc.h",
        ),
        _WHEELS,
    ),
    "crt/host_defines.h": "Install the one that triton brings: pip install triton",
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedDevice:
    """Libraries to load, in this order, before torch is imported.

    `driver_folder` holds a libcuda.so.1 for programs that look for the driver as a file (triton).
    """

    folder: Path
    libraries: tuple[Path, ...]
    bridge_driver: Path
    driver_folder: Path


def emulated_device(torch: TorchInstall, progress: Progress = lambda _: None) -> EmulatedDevice:
    """Returns the emulated device for `torch`; builds it if the cache has none yet.

    Safe if several processes call it at once: one builds, the others wait.

    Raises:
        UnsupportedPlatformError: no C++ compiler.
        BuildError: the cache folder cannot be used, the disk is full, or compiling failed.
    """
    cache = DeviceCache.open()
    key = build_key(torch)
    found, _ = _kept(cache, key)
    if found is not None:
        return found
    with cache.lock(key, progress):
        found, damage = _kept(cache, key)
        if found is not None:
            return found
        if damage is None and prebuilt_folder(key) is not None:
            progress(f"taking the emulated device for torch {torch.version} from {DISTRIBUTION}")
        elif damage is None:
            progress(f"building the emulated device for torch {torch.version} (once)")
        else:
            progress(
                f"building the emulated device for torch {torch.version} again, because the one "
                f"in the cache is damaged ({damage})"
            )
            cache.discard(key)
        cache.store(key, lambda work: taken(key, work) or build_device(torch, work, progress))
        found, damage = _kept(cache, key)
    if found is None:
        raise BuildError(
            f"the emulated device was built, and what {cache.folder} holds is not what was "
            f"written ({damage}); look at that disk, or set {VARIABLE} to another folder"
        )
    return found


def _kept(cache: DeviceCache, key: str) -> tuple[EmulatedDevice | None, str | None]:
    """Returns the build of a key if it is complete, and else how it is damaged, if it exists."""
    try:
        document = cache.opened(key)
        if document is None:
            return None, None
        return _device(cache.folder / key, sealed_names(document, _LIBRARIES)), None
    except DamagedError as error:
        return None, str(error)


def _device(folder: Path, libraries: Sequence[str]) -> EmulatedDevice:
    return EmulatedDevice(
        folder=folder,
        libraries=tuple(folder / name for name in libraries),
        bridge_driver=folder / BRIDGE_DRIVER_LIBRARY,
        driver_folder=folder / "driver",
    )


def build_key(torch: TorchInstall) -> str:
    """Returns the name of the build: the version of torch and a hash of all its inputs."""
    digest = hashlib.sha256()
    sources = sorted(path for path in NATIVE.rglob("*") if path.is_file())
    for path in [*sources, *(Path(__file__).parent / name for name in _GENERATORS)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for folder in torch.extension_folders:
        digest.update(f"{folder.name} {package_version(folder)}\n".encode())
    digest.update(f"cudnn {torch.cudnn_version}\n".encode())
    return f"torch-{torch.version}-{digest.hexdigest()[:16]}"


def include_options(torch: TorchInstall) -> list[str]:
    """Returns the compiler's options for our own headers and for those of NVIDIA's wheels."""
    include = [f"-I{NATIVE}", f"-I{NATIVE / 'compat'}"]
    for path in torch.include_folders:
        include += ["-isystem", str(path)]
    return include


_GENERATORS = ("build.py", "sealed.py", "stubs.py", "symbols.py", "unemulated.py")


def build_device(torch: TorchInstall, work: Path, progress: Progress) -> dict[str, Any]:
    """Compiles the device into the folder `work`; returns the content of its manifest.

    Raises:
        UnsupportedPlatformError: no C++ compiler, or a header is missing.
        BuildError: compiling failed.
    """
    compiler = find_compiler()
    check_headers(torch)
    include = include_options(torch)
    with (
        # In the cache: so only one disk can be full, and only one folder is removed. It is removed
        # last: after a failure another compiler may still write into it.
        tempfile.TemporaryDirectory(prefix="objects-", dir=work) as scratch,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        objects = Path(scratch)
        sources = sorted(NATIVE.glob("*.cpp"))
        imports_job = pool.submit(read_cuda_imports, torch)
        headers_job = pool.submit(_preprocess, compiler, torch, include, objects)
        compiled = list(
            pool.map(lambda source: _compile(compiler, source, objects, include), sources)
        )
        imports = imports_job.result()
        progress("building the emulated device: generating the remaining functions")
        defined = _defined(compiled)
        stubs = objects / "stubs.c"
        made = make_stubs(imports.functions - defined, headers_job.result(), defined)
        stubs.write_text(made.source, encoding="utf-8")
        compiled.append(objects / "stubs.o")
        # -O0: thousands of functions of one line compile in half the time.
        run_tool(
            [*_c(compiler), "-O0", "-fPIC", "-w", "-fno-builtin", "-c", stubs, "-o", compiled[-1]]
        )
        _link_device(compiler, compiled, work)
        libraries = _link_named_libraries(compiler, imports, objects, work)
        run_tool(
            [*_c(compiler), "-shared", "-O1", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1",
             NATIVE / BRIDGE_DRIVER_SOURCE, "-o", work / BRIDGE_DRIVER_LIBRARY]
        )  # fmt: skip
    (work / "driver").mkdir()
    os.symlink(f"../{_file_name('libcuda.so.1')}", work / "driver" / "libcuda.so.1")
    return {"torch": torch.version, _LIBRARIES: [DEVICE_LIBRARY, *libraries]}


def check_headers(torch: TorchInstall) -> None:
    """Checks that the headers are there that the build needs.

    Raises:
        UnsupportedPlatformError: one is missing; says what to install.
    """
    for header, package in _REQUIRED_HEADERS.items():
        if not any((folder / header).is_file() for folder in torch.include_folders):
            raise UnsupportedPlatformError(
                f"the header {header} was not found beside torch {torch.version} ({torch.folder}); "
                f"the emulated device is built with the headers of NVIDIA's wheels. {package}"
            )


def find_compiler() -> str:
    """Returns the C++ compiler: $CXX, g++, clang++ or c++.

    Raises:
        UnsupportedPlatformError: none was found; names the package to install.
    """
    for candidate in (*_from_environment(), *_COMPILERS):
        if shutil.which(candidate):
            return candidate
    raise UnsupportedPlatformError(
        "no C++ compiler was found (looked for $CXX, g++, clang++, c++); it is needed once to "
        "build the emulated device. Install one: apt-get install g++, dnf install gcc-c++, "
        "or conda install -c conda-forge gxx"
    )


def _from_environment() -> list[str]:
    """Returns the compiler of $CXX without its options and a cache: g++ of "ccache g++ -m64"."""
    words = shlex.split(os.environ.get("CXX", ""))
    return [word for word in words if Path(word).name not in _COMPILER_CACHES][:1]


def _c(compiler: str) -> list[str]:
    return [compiler, "-x", "c"]


def _preprocess(compiler: str, torch: TorchInstall, include: list[str], scratch: Path) -> str:
    present = [h for h in HEADERS if any((d / h).is_file() for d in torch.include_folders)]
    source = scratch / "headers.h"
    source.write_text("".join(f"#include <{name}>\n" for name in present), encoding="utf-8")
    return run_tool([compiler, "-std=c++17", "-E", "-P", "-w", "-x", "c++", source, *include])


def _compile(compiler: str, source: Path, objects: Path, include: list[str]) -> Path:
    target = objects / f"{source.stem}.o"
    run_tool([compiler, *_OPTIONS, "-c", source, "-o", target, *include])
    return target


def _defined(objects: Sequence[Path]) -> set[str]:
    names = set()
    for line in run_tool(["nm", "--defined-only", "-g", *objects]).splitlines():
        parts = line.split()
        if len(parts) == 3:
            names.add(parts[2])
    return names


def _link_device(compiler: str, objects: Sequence[Path], work: Path) -> None:
    command: list[str | Path] = [
        compiler, "-shared", f"-Wl,-soname,{DEVICE_LIBRARY}", "-Wl,-Bsymbolic-functions",
        "-o", work / DEVICE_LIBRARY, *objects, "-ldl", "-lpthread",
    ]  # fmt: skip
    try:
        # A process whose libstdc++ is older than the compiler's (conda) must load this too. The
        # symbols of the static libraries stay hidden: torch would bind to them.
        run_tool([*command, "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"])
    except BuildError:
        run_tool(command)


def _file_name(soname: str) -> str:
    # Not the SONAME itself: torch preloads NVIDIA's own libraries when it sees "libcudart.so"
    # among the files of the process (torch/__init__.py, _load_global_deps).
    return "emulated_" + soname.removeprefix("lib").replace(".so", "")


def _link_named_libraries(
    compiler: str, imports: CudaImports, scratch: Path, work: Path
) -> list[str]:
    """Makes empty libraries with torch's SONAMEs and version nodes, linked to the device."""
    names = []
    for soname, nodes in imports.version_nodes.items():
        script, source = scratch / "nodes.map", scratch / "named.c"
        marks = [f"planner_node_{index}" for index in range(max(1, len(nodes)))]
        versions = sorted(nodes) or ["PLANNER"]
        script.write_text(
            "".join(f"{v} {{ global: {m}; }};\n" for v, m in zip(versions, marks, strict=True)),
            encoding="utf-8",
        )
        source.write_text("".join(f"int {mark};\n" for mark in marks), encoding="utf-8")
        names.append(_file_name(soname))
        run_tool(
            [*_c(compiler), "-shared", "-fPIC", f"-Wl,-soname,{soname}",
             f"-Wl,--version-script={script}", "-o", work / names[-1], source,
             "-x", "none", "-Wl,--no-as-needed", f"-L{work}", "-lplanner_device",
             "-Wl,-rpath,$ORIGIN"]
        )  # fmt: skip
    return names


def run_tool(command: Sequence[str | Path]) -> str:
    """Runs a compiler or linker, with its scratch files where its output goes; returns its stdout.

    Raises:
        BuildError: it failed; has its own words.
        OSError: the disk is full.
    """
    words = [str(word) for word in command]
    folder = Path(words[words.index("-o") + 1]).parent if "-o" in words else None
    environment = dict(os.environ, LC_ALL="C")  # messages that can be recognised
    if folder is not None:
        environment["TMPDIR"] = str(folder)
    done = subprocess.run(
        words, capture_output=True, text=True, errors="replace", check=False, env=environment
    )
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip()
        if "No space left on device" in text or "Disk quota exceeded" in text:
            raise OSError(errno.ENOSPC, "No space left on device")
        raise BuildError(
            f"building the emulated device failed: {' '.join(words[:3])} ...\n{text[:2000]}"
        )
    return done.stdout
