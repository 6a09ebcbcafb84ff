"""Records a run on the CPU: every request to PyTorch's CPU allocator, in order.

In: the marks of a run (Watch). Out: RequestLog. Convention: PyTorch's profiler observes; its own
memory is small, but part of the process's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from planner.wire.trace import EventKind, RequestLog
from planner.worker.engines.meters import CpuMeter
from planner.worker.record.quiet import collector_stopped, quiet_kineto


class CpuRecorder(CpuMeter):
    """A CpuMeter that also keeps the requests of the run."""

    def __init__(self) -> None:
        super().__init__()
        # CPU alone: the profiler would look for a card otherwise.
        kinds = [torch.profiler.ProfilerActivity.CPU]
        self._profiler: Any = torch.profiler.profile(activities=kinds, profile_memory=True)
        self._log: RequestLog | None = None

    def begin(self) -> None:
        """Starts the recording, before the model is built."""
        with quiet_kineto():
            self._profiler.start()
        super().begin()

    def end_steps(self) -> None:
        """Ends the recording: memory that is alive now has no free in it."""
        super().end_steps()
        self._profiler.stop()
        with collector_stopped():
            tree = self._profiler.profiler.kineto_results.experimental_event_tree()
            self._log = _log(sorted(_allocations(tree), key=lambda one: one[0]))

    def requests(self) -> RequestLog | None:
        """Returns all requests up to the end of the last step; None if none was reached."""
        return self._log


def _allocations(events: Any) -> Iterator[tuple[int, int, int]]:
    """Yields time, address and size of each request; a free has a negative size."""
    waiting = list(events)
    kind = torch._C._profiler._EventType.Allocation
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        tag, fields = event.typed
        if tag == kind and fields.device.type == "cpu":
            yield event.start_time_ns, fields.ptr, fields.alloc_size


def _log(allocations: list[tuple[int, int, int]]) -> RequestLog:
    live: dict[int, tuple[int, int]] = {}
    kinds, blocks, sizes = [], [], []
    following = 0
    for _, address, size_bytes in allocations:
        if size_bytes >= 0:
            block, size = following, size_bytes
            live[address] = (block, size)
            following += 1
            kinds.append(EventKind.ALLOC)
        elif address in live:
            block, size = live.pop(address)
            kinds.append(EventKind.FREE)
        else:
            continue  # taken before the recording began
        blocks.append(block)
        sizes.append(size)
    return RequestLog(
        kinds=tuple(kinds),
        blocks=tuple(blocks),
        sizes_bytes=tuple(sizes),
        streams=(0,) * len(kinds),
    )
