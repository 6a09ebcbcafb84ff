"""The emulated device as seen from inside the child: loading it, choosing the card, querying it.

In: library paths and profile text from the parent. Out: attention backends and assumptions of a
run. The libraries are loaded before torch under the SONAMEs that torch needs; no environment
variable is set that another process could inherit.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_NOTES_BYTES = 1 << 20
_ATTENTION = "attention-"
_WORKSPACE = "cudnn-workspace-"
# The device's notes as sentences. Keys: note() in native/.
NOTES_IN_WORDS = {
    "cudnn-rnn-model": "cuDNN's RNN workspace and reserve sizes follow a model, not cuDNN itself",
    "cudnn-batch-norm-model": "cuDNN's batch-norm workspaces are taken as 0",
    "nccl": "memory that NCCL takes outside PyTorch's allocator is not included",
    "memory-pool": "cudaMallocAsync pools are emulated without their own caching",
    "nvml-sensor": "an emulated card has no load, temperature, power or clock: who reads them "
    "gets 0",
    "size-unknown-cufft": "cuFFT workspaces are taken as 0",
    "size-unknown-cusolver": "cuSOLVER workspaces are taken as 256 bytes",
    "size-unknown-cusparse": "cuSPARSE workspaces are taken as 256 bytes",
}
_MODELLED = "cuDNN workspaces follow a model and may be off by hundreds of MiB: "
_WARNINGS = {
    "cudnn-model": _MODELLED + "this torch brings no cuDNN that can plan without a device "
    "(9.8 or newer)",
    "cudnn-library-not-loaded": _MODELLED + "the cuDNN of this torch could not be loaded",
    "cudnn-library-too-old": _MODELLED + "the cuDNN of this torch is older than 9.8",
    "cudnn-card-refused": _MODELLED + "the cuDNN of this torch does not plan for this card",
}
# The allocator has asked for an event that the card had not reached yet.
_EVENTS_PENDING = "events-pending"
_LAG = "launch_lag="
_BENCHMARK = (
    "torch.backends.cudnn.benchmark is on: the first step tries every engine, and the one with the "
    "least workspace is taken to win; on a card it is the fastest"
)
_STATE: dict[str, Any] = {}


def load(libraries: Sequence[str]) -> None:
    """Loads the emulated device; torch must not have been imported.

    Raises:
        RuntimeError: torch is imported already, with another CUDA.
        OSError: a library cannot be loaded.
    """
    if "torch" in sys.modules:
        raise RuntimeError("the emulated device must be loaded before torch is imported")
    handles = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in libraries]
    _STATE["device"] = handles[0]
    handles[0].planner_device_launches.restype = ctypes.c_uint64
    _STATE["libraries"] = handles


def load_card(libraries: Sequence[str], profile: str, driver_folder: str) -> None:
    """Loads the emulated device as the card of `profile`, also for who looks for a driver's file.

    Raises:
        RuntimeError, OSError: see load. ValueError: see configure.
    """
    load(libraries)
    configure(profile)
    os.environ["TRITON_LIBCUDA_PATH"] = driver_folder


def configure(profile: str) -> None:
    """Makes the device the card that `profile` describes (see emulator/profile.py).

    Raises:
        ValueError: a line that the device does not understand.
    """
    line = _STATE["device"].planner_device_configure(profile.encode())
    if line:
        raise ValueError(f"the emulated device does not understand line {line} of its profile")
    _STATE["profile"] = profile


def count_one_card() -> None:
    """Makes torch count one card.

    torch itself would count this machine's cards through NVML, or forbid CUDA after a fork; the
    emulated device can be used there.
    """
    import torch

    private: Any = torch
    private.cuda._device_count_nvml = lambda: -1
    private._C._cuda_getDeviceCount = lambda: 1


def settle(profile: str) -> str | None:
    """Makes the device the card of `profile` with the architecture of torch's kernels.

    Returns an assumption, if no kernel of this torch fits.
    """
    settled, note = settle_architecture(profile)
    configure(settled)
    return note


def settle_architecture(profile: str) -> tuple[str, str | None]:
    """Adds the architecture of torch's kernels to a profile; also an assumption if none fits.

    A driver loads the code of the highest architecture that is not above the card's.
    """
    import torch

    values = dict(line.split("=", 1) for line in profile.splitlines() if line)
    card = int(values["major"]) * 10 + int(values["minor"])
    flags: str = torch._C._cuda_getArchFlags() or ""  # "sm_75 sm_80 ... compute_120"
    architectures = sorted(
        int("".join(filter(str.isdigit, flag.partition("_")[2])))
        for flag in flags.split()
        if flag.startswith(("sm_", "compute_"))
    )
    usable = [architecture for architecture in architectures if architecture <= card]
    note = None
    if architectures and not usable:
        note = (
            f"torch {torch.__version__} has no code for compute capability {card / 10:.1f} "
            f"(its oldest is {architectures[0] / 10:.1f}) and would not start on this card; the "
            "figures assume a build of the same version that does"
        )
    chosen = usable[-1] if usable else (architectures[0] if architectures else card)
    return f"{profile}binary_version={chosen}\n", note


def preload_cudnn() -> None:
    """Loads cuDNN for planning before the first fork, so that the runs need not load it."""
    _STATE["device"].planner_cudnn_preload()


def notes() -> tuple[str, ...]:
    """Returns the device's notes since the process started."""
    buffer = ctypes.create_string_buffer(_NOTES_BYTES)
    _STATE["device"].planner_device_notes(buffer, ctypes.c_size_t(_NOTES_BYTES))
    return tuple(buffer.value.decode().split())


def device() -> ctypes.CDLL:
    """Returns the library of the emulated device, for its own entry points (planner_...)."""
    library: ctypes.CDLL = _STATE["device"]
    return library


def launches() -> int:
    """Returns how many kernels this process has launched so far; 0 without the device."""
    return int(_STATE["device"].planner_device_launches()) if _STATE else 0


def assumptions(found: Sequence[str]) -> tuple[str, ...]:
    """Returns the notes that a reader of the figures must know, as sentences."""
    said = tuple(NOTES_IN_WORDS[key] for key in found if key in NOTES_IN_WORDS)
    return (*said, *((_of_lag(_STATE["profile"]),) if _EVENTS_PENDING in found else ()))


def _of_lag(profile: str) -> str:
    """Returns a sentence on memory that waits for other streams; `profile` says how long."""
    lags = [line.removeprefix(_LAG) for line in profile.splitlines() if line.startswith(_LAG)]
    launches = "" if lags[-1] == "never" else f"{int(lags[-1]):,} launches later, or "
    return (
        "memory that another stream still uses (record_stream) comes back "
        f"{launches}when the host waits for the card"
    )


def warnings(found: Sequence[str]) -> tuple[str, ...]:
    """Returns the most specific note that makes a figure doubtful, as a sentence."""
    reasons = [key for key in _WARNINGS if key in found]
    return (_WARNINGS[reasons[-1]],) if reasons else ()


def benchmark_note() -> tuple[str, ...]:
    """Returns an assumption if the user's code has switched cuDNN's benchmark mode on."""
    import torch

    return (_BENCHMARK,) if torch.backends.cudnn.benchmark else ()


def workspace_sizes(found: Sequence[str]) -> tuple[int, ...]:
    """Returns the sizes of cuDNN's workspaces in the notes; a plan without one has no note."""
    return tuple(int(key.removeprefix(_WORKSPACE)) for key in found if key.startswith(_WORKSPACE))


def attention_kernels(found: Sequence[str]) -> tuple[str, ...]:
    """Returns the fused attention kernels among the notes: flash, efficient, cudnn."""
    return tuple(key.removeprefix(_ATTENTION) for key in found if key.startswith(_ATTENTION))


def on_read(callback: Any | None) -> None:
    """Lets the device call a ctypes function for each copy to the host; None ends that.

    Its arguments are the size in bytes, the address of the destination (zeros, where contents are
    not kept; it may be written), and the address on the device.
    """
    _STATE["device"].planner_device_on_read(callback)


def keep_sent() -> None:
    """Makes the device keep the last small copies to it from now on."""
    _STATE["device"].planner_device_keep_sent()


def sent(address: int, size_bytes: int) -> bytes | None:
    """Returns the bytes of the last copy to `address`; None if they are not kept any more."""
    content = ctypes.create_string_buffer(size_bytes)
    found = _STATE["device"].planner_device_sent(
        ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), content
    )
    return content.raw if found else None


def keep_contents() -> None:
    """Makes the device keep what small ranges of its memory certainly hold, from now on.

    A copy to the host of such a range gives these bytes, and no callback is called for it.
    """
    _STATE["device"].planner_device_keep_contents()


def content(address: int, size_bytes: int) -> bytes | None:
    """Returns what a range of the device's memory holds; None if that is not certain."""
    found = ctypes.create_string_buffer(size_bytes)
    known = _STATE["device"].planner_device_content(
        ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), found
    )
    return found.raw if known else None


def set_content(address: int, size_bytes: int, content: bytes | None) -> None:
    """Says what a range of the device's memory holds from now on; None if that is not known."""
    _STATE["device"].planner_device_set_content(
        ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), content
    )


@contextmanager
def held_contents() -> Iterator[None]:
    """Keeps contents over launches of this thread; the caller sets those that they write."""
    _STATE["device"].planner_device_hold_contents(1)
    try:
        yield
    finally:
        _STATE["device"].planner_device_hold_contents(0)
