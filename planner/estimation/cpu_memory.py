"""Answers for a step on the CPU: makes some small runs, and from them gives the RAM at any batch.

In: a runner of the CPU engine, the step, the memory it may take. Out: CpuMemory. The steps are
real: they take as long as on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.config.step import StepConfig
from planner.errors import ChildError, ModelError
from planner.estimation.device_memory import model_error
from planner.memory.allocator.replay import requests_of
from planner.memory.cpu import CpuForecast, CpuSample
from planner.memory.scaling import FIRST_ALIKE, Sample, ScaledRequests, fit
from planner.process.client import Runner
from planner.wire.trace import RunOutcome, StepTrace

# Pairs of batches to record, in the order they are tried. oneDNN has paths of its own for batch 2.
_RECORDED = ((FIRST_ALIKE, FIRST_ALIKE + 1), (8, 12), (24, 32))
_SHARE = 4  # the last run is measured at 1 / this of the largest batch
_GALLOP = 8  # on the way there each batch is at most this many times the last
_PATIENCE_S = 30.0  # the next run is left out where its steps may take longer
_WORTH_WHILE = 2  # or where its batch is less than this many times the last


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuMemory:
    """The answer for the CPU. `trace` is the run of the requested batch."""

    trace: StepTrace
    forecast: CpuForecast
    largest_batch: int | None


def cpu_memory(
    runner: Runner,
    config: StepConfig,
    memory_bytes: int,
    *,
    search: bool,
    progress: Callable[[str], None],
) -> CpuMemory:
    """Runs the step at the requested batch and at some others.

    Raises:
        ModelError: the user's code raised, or the step makes other requests at every batch.
        ChildError: a run was killed or took too long.
    """
    scaled = _scaled(runner, config, progress)
    progress(f"cpu: batch {config.batch_size}")
    trace = _check(runner.run("", config))
    forecast = CpuForecast(scaled=scaled, samples=(_sample(trace),))
    last = trace
    while search and (further := _further(last, forecast.largest(memory_bytes))) is not None:
        progress(f"cpu: batch {further}")
        last = _check(runner.run("", replace(config, batch_size=further)))
        forecast = replace(forecast, samples=(*forecast.samples, _sample(last)))
    return CpuMemory(
        trace=trace,
        forecast=forecast,
        largest_batch=forecast.largest(memory_bytes) if search else None,
    )


def _scaled(runner: Runner, config: StepConfig, progress: Callable[[str], None]) -> ScaledRequests:
    """Returns the requests at every batch, from the first pair of batches with the same requests.

    Raises:
        ModelError: no pair has the same requests.
    """
    reason = ""
    for pair in _RECORDED:
        samples = []
        for batch_size in pair:
            progress(f"cpu: recording batch {batch_size}")
            trace, log = runner.requests("", replace(config, batch_size=batch_size))
            _check(trace)
            if log is None:
                raise ChildError("the requests of the run on the CPU could not be recorded")
            samples.append(Sample(value=batch_size, requests=tuple(requests_of(log))))
        scaled = fit(samples)
        if isinstance(scaled, ScaledRequests):
            return scaled
        reason = scaled.reason
    raise ModelError(
        "the step asks for other memory at each batch, so that its RAM cannot be told from small "
        f"runs: {reason}"
    )


def _further(last: StepTrace, largest: int) -> int | None:
    """Returns a larger batch to measure; None: it would take too long, or is not much larger.

    Near the largest batch, the memory of a process apart from its tensors is measured best.
    """
    if sum(last.step_s) * _GALLOP > _PATIENCE_S:
        return None
    further = min(largest // _SHARE, _GALLOP * last.batch_size)
    return further if further >= _WORTH_WHILE * last.batch_size else None


def _sample(trace: StepTrace) -> CpuSample:
    assert trace.host is not None, "a run that has ended has a reading"
    return CpuSample(batch_size=trace.batch_size, reading=trace.host)


def _check(trace: StepTrace) -> StepTrace:
    """Returns the trace of a run that has ended.

    Raises:
        ModelError: the run has not ended: out of memory, or the model's code failed.
    """
    if trace.outcome is RunOutcome.OUT_OF_MEMORY:
        raise ModelError(
            f"this machine has too little RAM to run the step once with batch {trace.batch_size}"
        )
    if trace.outcome is not RunOutcome.COMPLETED:
        raise model_error(trace)
    return trace
