"""What the emulated device and the pass of values know of a run, added to its answer.

In: the answer of a run that has just ended in this process. Out: the same with attention kernels,
workspaces, memory outside of PyTorch, reads, assumptions and warnings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from planner.wire.jobs import RunAnswer
from planner.wire.trace import RunOutcome
from planner.worker.engines import emulation, outside
from planner.worker.record import attention
from planner.worker.values.passes import PassOfValues


def with_device_facts(
    answer: RunAnswer, values: PassOfValues, unsupported: Iterable[str]
) -> RunAnswer:
    """Returns the whole answer; `unsupported` are assumptions on the card's architecture."""
    notes, trace, requests = emulation.notes(), answer.trace, answer.requests
    backends = {*attention.recorded(), *emulation.attention_kernels(notes)}
    trace = replace(
        trace,
        value_reads=values.value_reads(),
        # A run that has not come to its end has rightly left reads unused.
        parted_reads=values.parted() if trace.outcome is RunOutcome.COMPLETED else (),
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
    if requests is not None:
        requests = replace(requests, workspace_sizes_bytes=emulation.workspace_sizes(notes))
    return replace(answer, trace=trace, requests=requests, log=values.log())
