"""Replays requests and says how much memory there is after each of them.

In: requests, settings. Out: Levels. Convention: the replay is that of replay.py, in Python.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from planner.memory.allocator.allocator import CachingAllocator
from planner.memory.allocator.history import History, RecordingAllocator
from planner.memory.allocator.replay import ReplayResult, Request, replay_in_python
from planner.memory.allocator.settings import AllocatorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Memory after each request, in bytes; where the replay ends early, the rest is missing."""

    allocated_bytes: tuple[int, ...]
    """Bytes of live blocks, as torch.cuda.memory_allocated()."""
    reserved_bytes: tuple[int, ...]
    """Bytes that the allocator holds, as torch.cuda.memory_reserved()."""
    result: ReplayResult
    """The figures of the whole replay."""
    history: History | None = None
    """Addresses and segments, where they were requested."""


def replay_levels(
    requests: Sequence[Request],
    settings: AllocatorSettings,
    *,
    capacity_bytes: int,
    total_memory_bytes: int | None = None,
    optional: Collection[int] = (),
    with_history: bool = False,
) -> Levels:
    """Does what replay() does, and keeps the levels; `with_history`: addresses and segments too.

    Raises:
        UsageError, ValueError: as replay().
    """
    allocated: list[int] = []
    reserved: list[int] = []
    recording = (
        RecordingAllocator(
            settings, capacity_bytes=capacity_bytes, total_memory_bytes=total_memory_bytes
        )
        if with_history
        else None
    )

    def watch(allocator: CachingAllocator) -> None:
        allocated.append(allocator.allocated_bytes)
        reserved.append(allocator.reserved_bytes)
        if recording is not None:
            recording.request += 1

    result = replay_in_python(
        requests,
        settings,
        capacity_bytes=capacity_bytes,
        total_memory_bytes=total_memory_bytes,
        optional=optional,
        watch=watch,
        allocator=recording,
    )
    return Levels(
        allocated_bytes=tuple(allocated[1:]),
        reserved_bytes=tuple(reserved[1:]),
        result=result,
        history=None if recording is None else recording.history(),
    )
