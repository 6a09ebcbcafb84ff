"""The memory of a step as a snapshot that PyTorch's memory viewer reads, with addresses and stacks.

In: BatchFigures with a history. Out: a pickle of what torch.cuda.memory._snapshot() returns:
dicts, lists, numbers and texts. Convention: `size` of an event is what the allocator took for the
block, so that events add up to the peaks; `requested_size` is what the program requested.
`time_us` counts requests: no time of a request is known. Nothing here reads a pickle.
"""

from __future__ import annotations

import pickle
from typing import Any

from planner.errors import UsageError
from planner.memory.allocator.history import (
    AllocatorAction,
    BlockState,
    History,
    PlacedBlock,
    PlacedSegment,
)
from planner.memory.timeline import Timeline
from planner.render.exports.stacks import OUTSIDE, Frame, frames_of
from planner.results.timelines import BatchFigures
from planner.wire.trace import AllocationEvent, TensorCategory

_PROTOCOL = 4  # the last one that the viewer reads
# Segments end below it, as those of a process under Linux do; a multiple of every page.
_TOP = 0x7F00_0000_0000
_NO_POOL = (0, 0)  # the pool of all that is in no torch.cuda.MemPool
# The viewer (torch/utils/viz/MemoryViz.js) colours by category only where one is "unknown".
_UNKNOWN = "unknown"

_Document = dict[str, Any]


def memory_snapshot(figures: BatchFigures) -> bytes:
    """Returns the pickle.

    Raises:
        UsageError: the run cannot be replayed, so that no address is known.
    """
    if figures.history is None:
        raise UsageError(
            "a memory snapshot needs addresses, and this run cannot be replayed with the rules of "
            "PyTorch's own allocator; --format csv, chrome-trace and speedscope need none"
        )
    return pickle.dumps(snapshot(figures.timeline, figures.history), protocol=_PROTOCOL)


def snapshot(timeline: Timeline, history: History) -> _Document:
    """Returns the document of the pickle."""
    writer = _Writer(timeline, history)
    return {
        "segments": [writer.segment(one) for one in history.segments],
        "device_traces": [[writer.event(one) for one in history.actions]],
    }


class _Writer:
    """Writes actions and segments; equal stacks are one object, which keeps the pickle small."""

    def __init__(self, timeline: Timeline, history: History) -> None:
        self._timeline = timeline
        self._stacks: dict[tuple[object, ...], list[_Document]] = {}
        addresses = [one.address for one in history.actions]
        self._top = max(_TOP, -2 * min(addresses, default=0))

    def event(self, action: AllocatorAction) -> _Document:
        """Returns an entry of `device_traces`."""
        known = None if action.allocation is None else self._timeline.events[action.allocation]
        found: _Document = {
            "action": action.kind.value,
            "addr": self._top + action.address,
            "size": action.size_bytes,
            "stream": action.stream,
            "time_us": action.request,
            "pool_id": _NO_POOL,
            "category": _UNKNOWN if known is None else _category(known),
            "frames": self._frames(self._timeline.events[action.request], known),
        }
        if known is not None:
            found["requested_size"] = known.size_bytes
        return found

    def segment(self, segment: PlacedSegment) -> _Document:
        """Returns an entry of `segments`."""
        live = [one for one in segment.blocks if one.state is BlockState.LIVE]
        active = [one for one in segment.blocks if one.state is not BlockState.FREE]
        return {
            "device": 0,
            "address": self._top + segment.address,
            "total_size": segment.size_bytes,
            "allocated_size": sum(one.size_bytes for one in live),
            "active_size": sum(one.size_bytes for one in active),
            "requested_size": sum(self._requested(one) for one in active),
            "stream": segment.stream,
            "segment_type": "small" if segment.is_small else "large",
            "segment_pool_id": _NO_POOL,
            "is_expandable": segment.is_expandable,
            "frames": [],
            "blocks": [self._block(one) for one in segment.blocks],
        }

    def _block(self, block: PlacedBlock) -> _Document:
        known = None if block.allocation is None else self._timeline.events[block.allocation]
        return {
            "address": self._top + block.address,
            "size": block.size_bytes,
            "requested_size": self._requested(block),
            "state": block.state.value,
            "frames": [] if known is None else self._frames(known, known),
        }

    def _requested(self, block: PlacedBlock) -> int:
        if block.allocation is None:
            return 0
        return self._timeline.events[block.allocation].size_bytes

    def _frames(self, at: AllocationEvent, block: AllocationEvent | None) -> list[_Document]:
        """Returns the stack: that of the block where there is one, the innermost frame first."""
        origin = (at if block is None else block).origin
        category = None if block is None else block.category
        key = (at.step, at.phase, origin, category)
        if key not in self._stacks:
            found = self._timeline.origins[origin]
            named = [_frame(one, found.module) for one in reversed(frames_of(found))]
            if category is not None:
                named.append(_named("category", category.value))
            named.append(_named("phase", f"{at.phase.value}, step {at.step}"))
            self._stacks[key] = named
        return self._stacks[key]


def _category(event: AllocationEvent) -> str:
    is_known = event.category is not TensorCategory.UNATTRIBUTED
    return event.category.value if is_known else _UNKNOWN


def _frame(frame: Frame, module: str) -> _Document:
    """Returns a frame as the viewer has it; a source line is named after its module."""
    if frame.file:
        return {"filename": frame.file, "line": frame.line, "name": module or OUTSIDE}
    return _named(frame.kind.value, frame.name)


def _named(kind: str, name: str) -> _Document:
    return {"filename": kind, "line": 0, "name": name}
