"""One loaded target in the child: from a RunRequest to a StepTrace on the emulated card.

In: the target, then run requests. Out: traces, completed with what only the device knows.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import torch

from planner.errors import UsageError
from planner.protocol import RunRequest
from planner.step import attention, emulation
from planner.step.contract import load
from planner.step.measure import measure
from planner.trace import StepTrace
from planner.workload import Target, TargetKind

_ALLOC_CONF = "PYTORCH_CUDA_ALLOC_CONF"


class Session:
    """The user's code, imported once. Forked processes inherit it."""

    def __init__(self, target: Target) -> None:
        # A forked process hangs in OpenMP's threads if its parent had started any.
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        started = _native_threads()
        # torch would count the physical cards of this machine through NVML.
        torch.cuda._device_count_nvml = lambda: -1
        attention.install()
        if target.kind is TargetKind.FILE:
            sys.argv[:] = [target.location]  # as `python FILE` would
            sys.path.append(os.getcwd())
        self._source = load(target)
        emulation.preload_cudnn()
        if torch.get_num_threads() > 1 or _native_threads() > started:
            self._threads = 1

    def measure(self, request: RunRequest) -> StepTrace:
        """Runs the step on the card of the request."""
        torch.set_num_threads(self._threads)
        profile, unsupported = emulation.settle_architecture(request.profile)
        emulation.configure(profile)
        _start_allocator()
        attention.reset()
        reads = emulation.ReadCounter()
        reads.start()
        trace = measure(self._source, request.config, torch.device("cuda", 0))
        value_reads = reads.stop()
        notes = emulation.notes()
        backends = {*attention.recorded(), *emulation.attention_kernels(notes)}
        return replace(
            trace,
            value_reads=value_reads,
            attention_backends=tuple(sorted(backends)),
            assumptions=(
                *trace.assumptions,
                *emulation.assumptions(notes),
                *emulation.benchmark_note(),
                *((unsupported,) if unsupported else ()),
            ),
            warnings=(*trace.warnings, *emulation.warnings(notes)),
        )


def _start_allocator() -> None:
    """Let PyTorch read PYTORCH_CUDA_ALLOC_CONF.

    Raises:
        UsageError: PyTorch refuses it.
    """
    start: Any = torch.cuda.init  # untyped in torch
    try:
        start()
    except (ValueError, RuntimeError) as error:
        given = os.environ.get(_ALLOC_CONF)
        if given is None:
            raise
        raise UsageError(f"torch refuses {_ALLOC_CONF}={given}: {error}") from error


def _native_threads() -> int:
    return len(os.listdir("/proc/self/task"))
