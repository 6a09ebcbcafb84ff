"""verify() on the CPU: real memory of this machine, under a limit that the kernel enforces.

In: Job, the RAM that a run may take. Out: Verification.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from planner.emulator.profile import limit_profile
from planner.errors import UsageError
from planner.estimation.session import caller_label
from planner.memory.probe import ProbeOutcome
from planner.process.client import Runner
from planner.questions.estimate_cpu import (
    CPU_ENVIRONMENT,
    cpu_estimate,
    cpu_name,
    cpu_session,
)
from planner.questions.verify.job import Job, compared, searched
from planner.results.estimate import Estimate
from planner.results.verification import DeviceKind, ProbeRecord, Verification, VerifiedDevice
from planner.units import format_bytes, parse_reserve
from planner.verification.observations import CpuObservation
from planner.verification.probes import ProbeRunner
from planner.wire.protocol import Engine

_RESOLUTION = 128  # the search is exact to 1/128 of the prediction: a probe is slow


def on_cpu(job: Job, memory_bytes: int) -> Verification:
    kept_bytes = parse_reserve(job.reserve, memory_bytes)
    limit_bytes = memory_bytes - kept_bytes
    if not 0 <= kept_bytes < memory_bytes:
        raise UsageError(
            f"a reserve of {format_bytes(kept_bytes)} leaves nothing of "
            f"{format_bytes(memory_bytes)}"
        )
    with cpu_session(
        job.target,
        job.functions,
        job.given,
        config=job.config,
        memory_bytes=limit_bytes,
        search=True,
        timeout_s=job.timeout_s,
        progress=job.progress,
    ) as host:
        name = caller_label(job.target, host.named)
        first = cpu_estimate(name, job.config, host, limit_bytes)
        data_bytes = host.answer.forecast.data_limit_bytes(limit_bytes)
        open_runner = partial(
            Runner,
            host.named,
            device=Engine.CPU,
            timeout_s=job.timeout_s,
            environment=CPU_ENVIRONMENT,
        )
        with ProbeRunner(
            open_runner=open_runner,
            profile=limit_profile(data_limit_bytes=data_bytes),
            config=job.config,
            progress=job.progress,
            observe=lambda: nullcontext(CpuObservation()),
            judge=partial(_within, limit_bytes),
        ) as lab:
            found = searched(job, lab, first, host_bytes=None, resolution=_RESOLUTION)

        def predicted(*, batch_size: int) -> Estimate:
            config = replace(job.config, batch_size=batch_size)
            return cpu_estimate(name, config, host, limit_bytes)

        verified = VerifiedDevice(
            name=cpu_name(),
            kind=DeviceKind.CPU,
            memory_bytes=limit_bytes,
            limit=f"RLIMIT_DATA of {format_bytes(data_bytes)}, enforced by the kernel",
        )
        return compared(job, verified, first, found, predicted)


def _within(limit_bytes: int, record: ProbeRecord) -> ProbeRecord:
    """Turns a fit into out of memory above the limit: RLIMIT_DATA does not count pages of files."""
    held_bytes = record.peak_device_bytes
    if record.outcome is not ProbeOutcome.FITS or held_bytes is None or held_bytes <= limit_bytes:
        return record
    detail = f"held {format_bytes(held_bytes)} of {format_bytes(limit_bytes)}"
    return replace(record, outcome=ProbeOutcome.OOM, detail=detail)
