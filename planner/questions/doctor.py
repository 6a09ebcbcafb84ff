"""Checks whether this machine has everything that an estimate needs.

In: nothing. Out: Diagnosis. Convention: nothing is created, built or imported, and no CUDA context
is made; each problem that stops an estimate is a sentence that says what to do.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from planner._version import __version__
from planner.config.step import StepConfig
from planner.emulator.build import build_key, check_headers, find_compiler
from planner.emulator.cache import NEEDED_BYTES, DeviceCache, cache_folder, free_bytes, full_disk
from planner.emulator.sealed import DamagedError
from planner.emulator.torch_install import TorchInstall, find_torch
from planner.errors import BuildError, PlannerError, UnsupportedPlatformError
from planner.estimation.alloc_conf import check_environment
from planner.machine import nvml
from planner.machine.cpu_identity import cpu_identity
from planner.machine.host_limits import memory_limit_bytes, memory_total_bytes
from planner.results.estimate import SCHEMA_VERSION
from planner.wire.variables import ALLOC_CONF_VARIABLES

# Distributions with code of their own that a step may run.
_LIBRARIES = (
    "torchvision", "torchaudio", "triton", "torchao", "bitsandbytes", "flash-attn", "xformers",
    "apex", "transformer-engine", "deepspeed", "accelerate", "transformers", "peft", "diffusers",
    "timm", "lightning", "pytorch-lightning", "torch-geometric", "numpy",
)  # fmt: skip
_VARIABLES = (
    "VRAM_PLANNER_CACHE", "VRAM_PLANNER_DATA", *ALLOC_CONF_VARIABLES, "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "CXX",
)  # fmt: skip
_OS_RELEASE = Path("/etc/os-release")
_COMPILER_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFacts:
    """The torch of this interpreter; `cuda` and `cudnn` are versions. None: without cuDNN."""

    version: str
    cuda: str
    cudnn: str | None
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFacts:
    """The folder of the emulated devices.

    `state` is that of the device for this torch: "whole", "none", "damaged (why)", "refused", or
    "unknown" without a torch. `size_bytes` is the size of all its files, `free_bytes` the room on
    its disk; None: not known.
    """

    folder: str
    state: str
    size_bytes: int
    free_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """A physical card, as its driver names it."""

    name: str
    usable_memory_bytes: int
    is_partitioned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The facts about this machine. `problems` stop an estimate; empty: estimates can run.

    `compiler` is its path and the first line of its --version, None if none runs; `driver` is
    NVIDIA's, None if none answers. `environment` holds the variables that are set.
    """

    planner: str
    python: str
    executable: str
    system: str
    processor: str
    threads: int
    ram_bytes: int | None
    torch: TorchFacts | None
    libraries: tuple[tuple[str, str], ...]
    compiler: str | None
    cache: CacheFacts
    driver: str | None
    cards: tuple[CardFacts, ...]
    environment: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON document."""
        document = asdict(self)
        pairs = {name: dict(document[name]) for name in ("libraries", "environment")}
        return {
            "schema_version": SCHEMA_VERSION,
            "can_estimate": not self.problems,
            **document,
            **pairs,
        }


def diagnosis() -> Diagnosis:
    """Examines this machine."""
    problems: list[str] = []
    torch = _torch(problems)
    compiler, why_no_compiler = _compiler()
    cache = _cache(torch, problems)
    if cache.state not in ("whole", "refused"):  # then something has to be built
        if why_no_compiler is not None:
            problems.append(why_no_compiler)
        if cache.free_bytes is not None and cache.free_bytes < NEEDED_BYTES:
            problems.append(str(full_disk(Path(cache.folder))))
        _check(problems, lambda: None if torch is None else check_headers(torch))
    if torch is not None:
        _check(problems, lambda: check_environment(StepConfig(), torch.version))
    driver, cards = _cards()
    total, limit = memory_total_bytes(), memory_limit_bytes()
    return Diagnosis(
        planner=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        system=_system(),
        processor=cpu_identity().name or platform.machine(),
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        ram_bytes=total if total is None or limit is None else min(total, limit),
        torch=None
        if torch is None
        else TorchFacts(
            version=torch.version,
            cuda=torch.cuda,
            cudnn=torch.cudnn_version,
            folder=str(torch.folder),
        ),
        libraries=_libraries(),
        compiler=compiler,
        cache=cache,
        driver=driver,
        cards=cards,
        environment=tuple((name, os.environ[name]) for name in _VARIABLES if name in os.environ),
        problems=tuple(problems),
    )


def _check(problems: list[str], check: Callable[[], None]) -> None:
    try:
        check()
    except PlannerError as error:
        problems.append(str(error))


def _torch(problems: list[str]) -> TorchInstall | None:
    try:
        return find_torch()
    except UnsupportedPlatformError as error:
        problems.append(str(error))
        return None


def _compiler() -> tuple[str | None, str | None]:
    """Returns the compiler and its version, or the reason why there is none."""
    try:
        name = find_compiler()
    except UnsupportedPlatformError as error:
        return None, str(error)
    path = shutil.which(name) or name
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace",
            timeout=_COMPILER_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"the compiler {path} does not run ({error}); install g++, or set $CXX"
    if done.returncode != 0:
        says = done.stderr.strip()[:200]
        return None, f"the compiler {path} does not run ({says}); install g++, or set $CXX"
    return f"{path}: {done.stdout.strip().partition(chr(10))[0]}", None


def _cache(torch: TorchInstall | None, problems: list[str]) -> CacheFacts:
    folder, state = cache_folder(), "none"
    if torch is None:
        return _facts(folder, "unknown")
    try:
        cache = DeviceCache.existing()
        if cache is not None and cache.opened(build_key(torch)) is not None:
            state = "whole"
    except DamagedError as error:
        state = f"damaged ({error}); the next estimate builds it again"
    except BuildError as error:
        problems.append(str(error))
        state = "refused"
    return _facts(folder, state)


def _facts(folder: Path, state: str) -> CacheFacts:
    return CacheFacts(
        folder=str(folder), state=state, size_bytes=_size_bytes(folder), free_bytes=_room(folder)
    )


def _size_bytes(folder: Path) -> int:
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inside, name)).st_size
            except OSError:
                continue  # removed while we looked
    return total


def _room(folder: Path) -> int | None:
    """Returns the free bytes on the disk of the folder, or of the nearest existing one above it."""
    for above in (folder, *folder.absolute().parents):
        try:
            return free_bytes(above)
        except OSError:
            continue
    return None


def _cards() -> tuple[str | None, tuple[CardFacts, ...]]:
    try:
        with nvml.opened() as library:
            cards = library.cards()
    except (PlannerError, ImportError):
        return None, ()
    facts = tuple(
        CardFacts(
            name=card.name,
            usable_memory_bytes=card.usable_memory_bytes,
            is_partitioned=card.is_partitioned,
        )
        for card in cards
    )
    return (cards[0].driver if cards else None), facts


def _libraries() -> tuple[tuple[str, str], ...]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _system() -> str:
    """Returns the distribution and the kernel."""
    try:
        lines = _OS_RELEASE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [
        line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")
    ]
    return "; ".join([*names, platform.platform()])
