"""One loaded target in the child: from a RunRequest to a StepTrace on the emulated card.

In: the target, then run requests. Out: traces, completed with what only the device knows.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from planner.protocol import RunRequest
from planner.step import attention, emulation
from planner.step.contract import load
from planner.step.measure import measure
from planner.trace import StepTrace
from planner.workload import Target


class Session:
    """The user's code, imported once. Forked processes inherit it."""

    def __init__(self, target: Target) -> None:
        # A forked process cannot use OpenMP threads that its parent had started.
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        # torch would count the physical cards of this machine through NVML.
        torch.cuda._device_count_nvml = lambda: -1  # type: ignore[attr-defined] # private
        attention.install()
        self._source = load(target)

    def measure(self, request: RunRequest) -> StepTrace:
        """Runs the step on the card of the request."""
        torch.set_num_threads(self._threads)
        profile, unsupported = emulation.settle_architecture(request.profile)
        emulation.configure(profile)
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
                *((unsupported,) if unsupported else ()),
            ),
        )
