"""What decides an answer and is known before any child is started, as one digest.

In: the target, torch, the emulated device, the environment of the child. Out: a key.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping

import msgspec

from planner._version import __version__
from planner.config.target import Target
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import TorchInstall
from planner.process.kept.sources import code_digest, file_state

_FORMAT = 1  # of what is stored
# Code of the parent alone, which makes no answer of the child.
_NOT_IN_THE_CHILD = frozenset({"cli", "questions", "render", "results"})
# Libraries in C read these, which cannot be seen.
_PREFIXES = (
    "AOTI", "ATEN_", "C10_", "CUBLAS", "CUDA", "CUDNN", "DNNL_", "GLIBC_", "GOMP_", "KINETO",
    "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "NCCL_", "NVIDIA_", "NVTE_", "OMP_", "ONEDNN_",
    "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH", "TQDM_", "TRITON", "XLA_",
)  # fmt: skip


def key_of(
    target: Target,
    *,
    torch: TorchInstall,
    device: EmulatedDevice,
    profile: str,
    environment: Mapping[str, str],
) -> str:
    """Returns the key of all answers for this target with this torch in this environment.

    `profile` is the card that is visible while the target is loaded.
    """
    known = {
        "format": _FORMAT,
        "planner": __version__,
        "sources": code_digest(_NOT_IN_THE_CHILD),
        "target": msgspec.to_builtins(target),
        "folder": os.getcwd(),
        "python": [sys.executable, sys.version, os.path.realpath(sys.executable)],
        "path": sys.path,
        "torch": [torch.version, torch.cuda, str(torch.folder), torch.cudnn_version],
        "cudnn": str(torch.cudnn_library),
        "libraries": [file_state(path) for path in torch.own_files],
        "device": str(device.folder),
        "card": _visible_card(target, profile),
        "processors": [os.cpu_count(), len(os.sched_getaffinity(0))],
        "variables": variables_of_libraries(environment),
    }
    return hashlib.sha256(msgspec.json.encode(known, order="deterministic")).hexdigest()[:40]


def _visible_card(target: Target, profile: str) -> list[str]:
    """Returns what code sees of the card while it is imported.

    The libraries of published models may ask for it (worker/published/card_queries.py); the user's
    own code that asks is not kept.
    """
    if target.published is None:
        return []
    return [line for line in profile.splitlines() if line.startswith(("major=", "minor="))]


def variables_of_libraries(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that libraries in C may read."""
    return {name: text for name, text in environment.items() if name.startswith(_PREFIXES)}
