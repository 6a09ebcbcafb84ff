"""The engines that run a step for real: a physical GPU, and the CPU under a limit.

In: the lines of a profile (see emulator/profile.py). Out: StepTraces with times and readings.
"""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Any

import torch

from planner.errors import UnsupportedPlatformError
from planner.wire.protocol import RecordedRun, RunRequest
from planner.wire.trace import Recording, StepTrace
from planner.worker.drive.measure import measure, record
from planner.worker.engines import alloc_conf
from planner.worker.engines.meters import CardMeter, CpuMeter
from planner.worker.record.cpu_recorder import CpuRecorder
from planner.worker.target.source import ModelSource

_WARM_UP = 1 << 18  # elements: enough for every thread to get a share


def run_on_card(source: ModelSource, request: RunRequest) -> StepTrace | RecordedRun:
    """Runs the step on the physical GPU, with times and what the card held; or it is recorded.

    Raises:
        UnsupportedPlatformError: this process sees no GPU that torch can use.
    """
    alloc_conf.choose(request.config.alloc_conf)
    if not torch.cuda.is_available():
        raise UnsupportedPlatformError(
            "torch sees no GPU that it can use; look what `nvidia-smi` says, and whether the "
            f"driver is new enough for CUDA {torch.version.cuda}"
        )
    device = torch.device("cuda", 0)
    _open_card(device, _limits(request.profile).get("kept_bytes", 0.0))
    if request.recording is Recording.EVENTS:
        trace, allocations = record(source, request.config, device, real_values=True)
        return RecordedRun(trace=trace, allocations=allocations)
    meter = CardMeter(device)
    trace = measure(source, request.config, device, meter, real_values=True)
    return replace(trace, step_s=meter.step_s, card=meter.reading)


def _open_card(device: torch.device, kept_bytes: float) -> None:
    """Makes the context, and lets PyTorch take what is free then but for `kept_bytes`."""
    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        raise UnsupportedPlatformError(f"the card cannot be used: {error}") from error
    if kept_bytes:
        share = max(0.0, (free_bytes - kept_bytes) / total_bytes)
        torch.cuda.set_per_process_memory_fraction(share, device)


def run_on_cpu(source: ModelSource, request: RunRequest, threads: int) -> StepTrace | RecordedRun:
    """Runs the step on the CPU; with a limit, no more private memory is mapped than that."""
    torch.set_num_threads(threads)
    _start_threads()
    recorded = request.recording is not Recording.NOTHING
    meter = CpuRecorder() if recorded else CpuMeter()
    limit = _limits(request.profile).get("data_limit_bytes")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), hard))
    try:
        trace = measure(source, request.config, torch.device("cpu"), meter, real_values=True)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    trace = replace(trace, step_s=meter.step_s, host=meter.reading)
    if not isinstance(meter, CpuRecorder):
        return trace
    return RecordedRun(trace=trace, requests=meter.requests())


def _start_threads() -> None:
    """OpenMP ends the process where it cannot start a thread: so before there is a limit."""
    whole: Any = torch.ones(_WARM_UP)
    whole.add_(whole)


def _limits(profile: str) -> dict[str, float]:
    pairs = (line.partition("=") for line in profile.splitlines() if line)
    return {key: float(value) for key, _, value in pairs}
