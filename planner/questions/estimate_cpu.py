"""The estimate for the CPU: RAM in the place of a card's memory.

target, memory, options
  -> a child that loads the model; some small runs on this CPU
  -> Estimate with one entry, "cpu": peak allocated are live tensors, the context overhead is the
     process around them
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.config.step import StepConfig
from planner.config.target import Scalar, Target
from planner.config.weights import settled
from planner.emulator.torch_install import find_torch
from planner.errors import UsageError
from planner.estimation.alloc_conf import check_environment
from planner.estimation.cpu_memory import CpuMemory, cpu_memory
from planner.estimation.session import caller_label, versions_of
from planner.machine.host_limits import memory_available_bytes
from planner.memory.cpu import MALLOC_SETTING
from planner.memory.search import BOUND
from planner.process.client import Runner
from planner.process.payload import ModelFunctions, child_target
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate, Versions
from planner.units import format_bytes, parse_memory, parse_reserve
from planner.wire.protocol import Engine
from planner.wire.trace import Counts

_CPUINFO = Path("/proc/cpuinfo")
# A run on the CPU must not see any card.
CPU_ENVIRONMENT: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": "", **dict([MALLOC_SETTING])}
_ASSUMED_MALLOC = (
    f"malloc gives blocks of 128 KiB and more back at once ({'='.join(MALLOC_SETTING)} is set for "
    "the runs; without it glibc keeps some of them, and a process may hold 10 to 20 % more)"
)


def estimate_on_cpu(
    target: Any,
    functions: ModelFunctions,
    given: tuple[tuple[str, Scalar], ...],
    *,
    config: StepConfig,
    memory: str | int | None,
    reserve: str | int,
    search: bool,
    timeout_s: float,
    progress: Callable[[str], None],
) -> Estimate:
    """Estimates the step for the CPU: estimate() with device="cpu".

    Raises:
        PlannerError: see errors.py.
    """
    memory_bytes = memory_limit(memory)
    kept_bytes = parse_reserve(reserve, memory_bytes)
    if not 0 <= kept_bytes < memory_bytes:
        raise UsageError(f"a reserve of {format_bytes(kept_bytes)} leaves nothing of the memory")
    with cpu_session(
        target,
        functions,
        given,
        config=config,
        memory_bytes=memory_bytes - kept_bytes,
        search=search,
        timeout_s=timeout_s,
        progress=progress,
    ) as found:
        name = caller_label(target, found.named)
        return cpu_estimate(name, config, found, memory_bytes, reserve_bytes=kept_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSession:
    """A child that has loaded the target for the CPU, and the memory that it needs."""

    named: Target
    runner: Runner
    answer: CpuMemory
    versions: Versions


@contextmanager
def cpu_session(
    target: Any,
    functions: ModelFunctions,
    given: tuple[tuple[str, Scalar], ...],
    *,
    config: StepConfig,
    memory_bytes: int,
    search: bool,
    timeout_s: float,
    progress: Callable[[str], None],
) -> Iterator[CpuSession]:
    """Loads the target and runs it at some small batches; the child ends with the context."""
    torch = find_torch()
    check_environment(config, torch.version)
    with child_target(target, functions, given) as named:
        progress("importing torch and the model")
        with Runner(
            named, device=Engine.CPU, timeout_s=timeout_s, environment=CPU_ENVIRONMENT
        ) as runner:
            child = runner.wait_loaded()
            answer = cpu_memory(runner, config, memory_bytes, search=search, progress=progress)
            versions = versions_of(child, torch)
            yield CpuSession(named=named, runner=runner, answer=answer, versions=versions)


def cpu_estimate(
    label: str,
    config: StepConfig,
    found: CpuSession,
    memory_bytes: int,
    *,
    reserve_bytes: int = 0,
) -> Estimate:
    """Returns the Estimate of a session, at the batch of `config`."""
    answer, batch = found.answer, config.batch_size
    forecast, trace = answer.forecast, answer.trace
    live_bytes = forecast.live_bytes(batch)
    entry = DeviceEstimate(
        requested="cpu",
        name=cpu_name(),
        total_memory_bytes=memory_bytes,
        usable_memory_bytes=memory_bytes,
        context_overhead_bytes=forecast.around_bytes(batch),
        reserve_bytes=reserve_bytes,
        peak_allocated_bytes=live_bytes,
        peak_reserved_bytes=live_bytes,
        fits=forecast.resident_bytes(batch) <= memory_bytes - reserve_bytes,
        max_batch_size=answer.largest_batch,
        max_batch_is_bound=(answer.largest_batch or 0) >= BOUND,
        max_batch_confirmed=None if answer.largest_batch is None else False,
        max_batch_method=None if answer.largest_batch is None else "replay",
        suggested_batch_reason="errors of predictions for a CPU are not known",
    )
    counts = trace.counts or Counts(parameters=0, trainable_parameters=0, buffers=0)
    return Estimate(
        target=label,
        config=settled(config, counts.weight_dtypes),
        counts=counts,
        gpus=(entry,),
        versions=found.versions,
        optimizer=trace.optimizer,
        build_on=trace.build_on,
        assumptions=(*trace.assumptions, _ASSUMED_MALLOC),
        warnings=(*trace.warnings, *found.runner.warnings),
        engine="cpu",
    )


def memory_limit(memory: str | int | None) -> int:
    """Returns the RAM that a run on the CPU may take: the given size, else all that is available.

    Raises:
        UsageError: not a size, or 0.
    """
    if memory is None:
        return available_memory_bytes()
    return parse_memory(memory, "memory")


def available_memory_bytes() -> int:
    """Returns the RAM that a new process can take without swapping.

    Raises:
        UsageError: this machine does not report it.
    """
    available_bytes = memory_available_bytes()
    if available_bytes is None:
        raise UsageError(
            "/proc/meminfo does not tell the available memory; say it with --memory 16GiB"
        )
    return available_bytes


def cpu_name() -> str:
    """Returns the model name of this machine's processor."""
    for line in _CPUINFO.read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
