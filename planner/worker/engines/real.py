"""The engines that run a step for real: a physical GPU, and the CPU under a limit.

In: the lines of a profile (see emulator/profile.py). Out: traces with times and readings.
"""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import Any

import torch

from planner.errors import UnsupportedPlatformError
from planner.wire.jobs import RunAnswer, RunJob
from planner.wire.trace import Recording
from planner.worker.drive.measure import measure, record
from planner.worker.engines import alloc_conf
from planner.worker.engines.meters import CardMeter, CpuMeter
from planner.worker.record.cpu_recorder import CpuRecorder
from planner.worker.target.source import ModelSource

_WARM_UP = 1 << 18  # elements: enough for every thread to get a share


def run_on_card(source: ModelSource, job: RunJob) -> RunAnswer:
    """Runs the step on the physical GPU, with times and the card's reading; or records it.

    Raises:
        UnsupportedPlatformError: this process sees no GPU that torch can use.
    """
    alloc_conf.choose(job.config.alloc_conf)
    if not torch.cuda.is_available():
        raise UnsupportedPlatformError(
            "torch sees no GPU that it can use; look what `nvidia-smi` says, and whether the "
            f"driver is new enough for CUDA {torch.version.cuda}"
        )
    device = torch.device("cuda", 0)
    _open_card(device, _limits(job.profile).get("kept_bytes", 0.0))
    if job.recording is Recording.EVENTS:
        trace, allocations = record(source, job.config, device, real_values=True)
        return RunAnswer(trace=trace, allocations=allocations)
    meter = CardMeter(device)
    trace = measure(source, job.config, device, meter, real_values=True)
    return RunAnswer(trace=replace(trace, step_s=meter.step_s, card=meter.reading))


def _open_card(device: torch.device, kept_bytes: float) -> None:
    """Makes the context, and lets PyTorch take all memory that is then free except `kept_bytes`."""
    try:
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        raise UnsupportedPlatformError(f"the card cannot be used: {error}") from error
    if kept_bytes:
        share = max(0.0, (free_bytes - kept_bytes) / total_bytes)
        torch.cuda.set_per_process_memory_fraction(share, device)


def run_on_cpu(source: ModelSource, job: RunJob, threads: int) -> RunAnswer:
    """Runs the step on the CPU; a limit in the profile is one of private mapped memory."""
    torch.set_num_threads(threads)
    _start_threads()
    recorded = job.recording is not Recording.NOTHING
    meter = CpuRecorder() if recorded else CpuMeter()
    limit = _limits(job.profile).get("data_limit_bytes")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), hard))
    try:
        trace = measure(source, job.config, torch.device("cpu"), meter, real_values=True)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    trace = replace(trace, step_s=meter.step_s, host=meter.reading)
    requests = meter.requests() if isinstance(meter, CpuRecorder) else None
    return RunAnswer(trace=trace, requests=requests)


def _start_threads() -> None:
    """Starts OpenMP's threads before a limit is set: OpenMP ends the process if it cannot."""
    whole: Any = torch.ones(_WARM_UP)
    whole.add_(whole)


def _limits(profile: str) -> dict[str, float]:
    pairs = (line.partition("=") for line in profile.splitlines() if line)
    return {key: float(value) for key, _, value in pairs}
