"""One loaded target in the child: from a RunRequest to a StepTrace on its engine.

In: the target, then run requests. Out: traces, completed with what only the device knows.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace
from typing import Any

import torch

from planner.data_cost import DataCost
from planner.errors import UsageError
from planner.module_counts import ModelCounts
from planner.protocol import DataRequest, Engine, InspectRequest, RecordedRun, RunRequest
from planner.step import alloc_conf, attention, emulation, outside
from planner.step.contract import load
from planner.step.data_cost import measure_data
from planner.step.measure import measure, record, record_requests
from planner.step.real_engines import run_on_card, run_on_cpu
from planner.trace import AllocationTrace, Recording, RequestLog, StepTrace
from planner.workload import Target, TargetKind


class Session:
    """The user's code, imported once. Forked processes inherit it."""

    def __init__(self, target: Target, engine: Engine) -> None:
        self._engine = engine
        # A forked process hangs in OpenMP's threads if its parent had started any.
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        started = _native_threads()
        if engine is Engine.EMULATED:
            _count_one_card()
            attention.install()
        if target.kind is TargetKind.FILE:
            sys.argv[:] = [target.location]  # as `python FILE` would
            sys.path.append(os.getcwd())
        self._source = load(target)
        if engine is Engine.EMULATED:
            emulation.preload_cudnn()
        if torch.get_num_threads() > 1 or _native_threads() > started:
            self._threads = 1

    def run(self, request: RunRequest) -> StepTrace | RecordedRun:
        """Runs the step on what the request says."""
        if self._engine is Engine.CPU:
            return run_on_cpu(self._source, request, self._threads)
        if self._engine is Engine.CUDA:
            torch.set_num_threads(self._threads)
            return run_on_card(self._source, request)
        return self._run_emulated(request)

    def _run_emulated(self, request: RunRequest) -> StepTrace | RecordedRun:
        unsupported, reads = self._prepare(request)
        attention.reset()
        device = torch.device("cuda", 0)
        allocations: AllocationTrace | None = None
        requests: RequestLog | None = None
        if request.recording is Recording.EVENTS:
            trace, allocations = record(self._source, request.config, device)
        elif request.recording is Recording.REQUESTS:
            trace, requests = record_requests(self._source, request.config, device)
        else:
            trace = measure(self._source, request.config, device)
        value_reads = reads.stop()
        notes = emulation.notes()
        backends = {*attention.recorded(), *emulation.attention_kernels(notes)}
        completed = replace(
            trace,
            value_reads=value_reads,
            attention_backends=tuple(sorted(backends)),
            outside=outside.memory(),
            failure=outside.explained(trace.failure, notes),
            assumptions=(
                *trace.assumptions,
                *emulation.assumptions(notes),
                *outside.assumptions(notes),
                *emulation.benchmark_note(),
                *unsupported,
            ),
            warnings=(*trace.warnings, *emulation.warnings(notes)),
        )
        if request.recording is Recording.NOTHING:
            return completed
        if requests is not None:
            sizes = emulation.workspace_sizes(notes)
            requests = replace(requests, workspace_sizes_bytes=sizes)
        return RecordedRun(trace=completed, allocations=allocations, requests=requests)

    def answer(
        self, request: RunRequest | InspectRequest | DataRequest
    ) -> StepTrace | RecordedRun | ModelCounts | DataCost:
        """What the request asks for."""
        if isinstance(request, DataRequest):
            torch.set_num_threads(1)  # as in a worker of a DataLoader
            return measure_data(self._source, request.seconds)
        if isinstance(request, InspectRequest):
            return self.inspect(request)
        return self.run(request)

    def inspect(self, request: InspectRequest) -> ModelCounts:
        """Counts what a step costs, on the card of the request."""
        from planner.step.inspection import inspect_model  # with fvcore, which no run needs

        unsupported, reads = self._prepare(request)
        device = torch.device("cuda", 0)
        found = inspect_model(self._source, request.config, device, request.depth)
        return replace(
            found,
            value_reads=reads.stop(),
            assumptions=(*found.assumptions, *unsupported),
        )

    def _prepare(
        self, request: RunRequest | InspectRequest
    ) -> tuple[tuple[str, ...], emulation.ReadCounter]:
        """Makes the device the card; what that assumes, and the reads counted from now on."""
        torch.set_num_threads(self._threads)
        settled, unsupported = emulation.settle_architecture(request.profile)
        emulation.configure(settled)
        with warnings.catch_warnings():
            if unsupported:  # torch says at length what `unsupported` says in a sentence
                warnings.simplefilter("ignore", UserWarning)
            _start_allocator(request.config.alloc_conf)
        reads = emulation.ReadCounter()
        reads.start()
        return ((unsupported,) if unsupported else ()), reads


def _start_allocator(setting: str | None) -> None:
    """Lets PyTorch start its allocator with `setting`.

    Raises:
        UsageError: PyTorch refuses it.
    """
    alloc_conf.choose(setting)
    start: Any = torch.cuda.init  # untyped in torch
    try:
        start()
    except (ValueError, RuntimeError) as error:
        given = alloc_conf.chosen()
        if given is None:
            raise
        raise UsageError(f"torch refuses {'='.join(given)}: {error}") from error


def _count_one_card() -> None:
    """Answers "is there a card?", which model files ask while they are imported.

    torch itself would count this machine's cards through NVML, or note that CUDA must not be used
    any more after a fork; the emulated device can be.
    """
    private: Any = torch
    private.cuda._device_count_nvml = lambda: -1
    private._C._cuda_getDeviceCount = lambda: 1


def _native_threads() -> int:
    return len(os.listdir("/proc/self/task"))
