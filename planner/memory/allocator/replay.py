"""Replays a list of requests, to find the memory that the program needs on a card and setting.

In: requests in the order of the program. Out: ReplayResult. Convention: the replay ends at the
first request that cannot be served, as a program ends with torch.OutOfMemoryError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from planner.memory.allocator.allocator import CachingAllocator, PendingFree
from planner.memory.allocator.blocks import Block
from planner.memory.allocator.settings import AllocatorSettings
from planner.wire.trace import AllocationEvent, EventKind, RequestLog


class Request(NamedTuple):
    """One request. `block` is the caller's name for the memory, unique while it is live."""

    kind: EventKind
    block: int = 0
    size_bytes: int = 0
    stream: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """The request that could not be served. `request_index` counts from 0."""

    request_index: int
    size_bytes: int
    allocated_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """Figures as in torch.cuda.memory_stats(); `out_of_memory` None: every request was served."""

    peak_allocated_bytes: int
    peak_active_bytes: int
    peak_reserved_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    alloc_retries: int
    out_of_memory: OutOfMemory | None


def requests_of(recorded: RequestLog | Iterable[AllocationEvent]) -> list[Request]:
    """Returns the requests of a recorded run."""
    if isinstance(recorded, RequestLog):
        log = recorded
        rows = zip(log.kinds, log.blocks, log.sizes_bytes, log.streams, strict=True)
        return [Request(kind, block, size, stream) for kind, block, size, stream in rows]
    return [Request(event.kind, event.block, event.size_bytes, event.stream) for event in recorded]


def replay(
    requests: Iterable[Request],
    settings: AllocatorSettings,
    *,
    capacity_bytes: int,
    total_memory_bytes: int | None = None,
    optional: Collection[int] = (),
) -> ReplayResult:
    """Runs `requests` through the allocator of `settings` on an empty card of `capacity_bytes`.

    `optional` are blocks that the program can do without: a library without its workspace uses
    another algorithm.

    Raises:
        UsageError: the settings choose a backend that cannot be replayed.
        ValueError: a block is freed that is not live, or a live block is allocated again.
    """
    allocator = CachingAllocator(
        settings, capacity_bytes=capacity_bytes, total_memory_bytes=total_memory_bytes
    )
    live: dict[int, Block] = {}
    pending: dict[int, PendingFree] = {}
    failure = None
    done_without: set[int] = set()
    allocate, free = allocator.allocate, allocator.free
    alloc_kind, free_kind = EventKind.ALLOC, EventKind.FREE  # a lookup in an Enum takes long
    for index, (kind, name, size_bytes, stream) in enumerate(requests):
        if kind is alloc_kind:
            block = allocate(size_bytes, stream)
            if block is None:
                if name in optional:
                    done_without.add(name)
                    continue
                failure = _out_of_memory(allocator, index, size_bytes)
                break
            if name in live:
                raise ValueError(f"request {index} allocates block {name}, which is live")
            live[name] = block
        elif kind is free_kind and name in live:
            free(live.pop(name))
        elif kind is EventKind.EMPTY_CACHE:
            allocator.empty_cache()
        elif name in done_without:
            done_without.remove(name)
        elif name not in (pending if kind is EventKind.FREE_COMPLETED else live):
            raise ValueError(f"request {index} frees block {name}, which is not live")
        elif kind is EventKind.FREE_REQUESTED:
            pending[name] = allocator.request_free(live.pop(name))
        else:
            allocator.complete_free(pending.pop(name))
    return ReplayResult(
        peak_allocated_bytes=allocator.peak_allocated_bytes,
        peak_active_bytes=allocator.peak_active_bytes,
        peak_reserved_bytes=allocator.peak_reserved_bytes,
        allocated_bytes=allocator.allocated_bytes,
        reserved_bytes=allocator.reserved_bytes,
        alloc_retries=allocator.alloc_retries,
        out_of_memory=failure,
    )


def _out_of_memory(allocator: CachingAllocator, index: int, size_bytes: int) -> OutOfMemory:
    return OutOfMemory(
        request_index=index,
        size_bytes=size_bytes,
        allocated_bytes=allocator.allocated_bytes,
        reserved_bytes=allocator.reserved_bytes,
    )
