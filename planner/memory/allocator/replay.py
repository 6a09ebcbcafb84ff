"""Replays a list of requests, to find the memory that the program needs on a card and setting.

In: requests in the order of the program. Out: ReplayResult. Convention: the replay ends at the
first request that cannot be served, as a program ends with torch.OutOfMemoryError.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from planner.memory.allocator import native
from planner.memory.allocator.allocator import CachingAllocator, PendingFree
from planner.memory.allocator.blocks import Block
from planner.memory.allocator.requests import PackedRequests, packed
from planner.memory.allocator.requests import Request as Request
from planner.memory.allocator.requests import requests_of as requests_of
from planner.memory.allocator.settings import AllocatorSettings, Backend
from planner.wire.trace import EventKind


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


def replay(
    requests: Iterable[Request] | PackedRequests,
    settings: AllocatorSettings,
    *,
    capacity_bytes: int,
    total_memory_bytes: int | None = None,
    optional: Collection[int] = (),
) -> ReplayResult:
    """Runs `requests` through the allocator of `settings` on an empty card of `capacity_bytes`.

    `optional` are blocks that the program can do without: a library without its workspace uses
    another algorithm. Packed requests hold their own, and are replayed fastest.

    Raises:
        UsageError: the settings choose a backend that cannot be replayed.
        ValueError: a block is freed that is not live, or a live block is allocated again.
    """
    if not isinstance(requests, PackedRequests):
        requests = packed(tuple(requests), optional)
    if isinstance(requests, PackedRequests):
        ended = _natively(requests, settings, capacity_bytes, total_memory_bytes)
        if ended is not None:
            return ended
        optional, requests = requests.optional_blocks(), requests.requests()
    return replay_in_python(
        requests,
        settings,
        capacity_bytes=capacity_bytes,
        total_memory_bytes=total_memory_bytes,
        optional=optional,
    )


def _natively(
    requests: PackedRequests,
    settings: AllocatorSettings,
    capacity_bytes: int,
    total_memory_bytes: int | None,
) -> ReplayResult | None:
    """Replays in native code; None where there is none, or where it cannot hold the figures.

    Raises:
        ValueError: as replay().
    """
    if settings.backend is not Backend.NATIVE:
        return None
    ended = native.replayed(
        requests,
        settings,
        capacity_bytes=capacity_bytes,
        total_memory_bytes=capacity_bytes if total_memory_bytes is None else total_memory_bytes,
    )
    if ended is None:
        return None
    failure, (ending, figures) = None, ended
    if ending is not native.Ending.SERVED:
        block, size_bytes = requests.block(figures.index), requests.sizes_bytes[figures.index]
        if ending is native.Ending.LIVE_ALLOCATED:
            raise _live_allocated(figures.index, block)
        if ending is native.Ending.NOT_LIVE_FREED:
            raise _not_live_freed(figures.index, block)
        failure = OutOfMemory(
            request_index=figures.index,
            size_bytes=size_bytes,
            allocated_bytes=figures.allocated_bytes,
            reserved_bytes=figures.reserved_bytes,
        )
    return ReplayResult(
        peak_allocated_bytes=figures.peak_allocated_bytes,
        peak_active_bytes=figures.peak_active_bytes,
        peak_reserved_bytes=figures.peak_reserved_bytes,
        allocated_bytes=figures.allocated_bytes,
        reserved_bytes=figures.reserved_bytes,
        alloc_retries=figures.alloc_retries,
        out_of_memory=failure,
    )


def replay_in_python(
    requests: Iterable[Request],
    settings: AllocatorSettings,
    *,
    capacity_bytes: int,
    total_memory_bytes: int | None = None,
    optional: Collection[int] = (),
    watch: Callable[[CachingAllocator], None] | None = None,
    allocator: CachingAllocator | None = None,
) -> ReplayResult:
    """Does what replay() does, without native code: the reference that native code must equal.

    `watch` is called with the allocator before each request, and at the end. `allocator` is an
    unused one to take in place of a new one; settings and sizes of the card are then its own.

    Raises:
        UsageError, ValueError: as replay().
    """
    if allocator is None:
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
        if watch is not None:
            watch(allocator)
        if kind is alloc_kind:
            block = allocate(size_bytes, stream)
            if block is None:
                if name in optional:
                    done_without.add(name)
                    continue
                failure = _out_of_memory(allocator, index, size_bytes)
                break
            if name in live:
                raise _live_allocated(index, name)
            live[name] = block
        elif kind is free_kind and name in live:
            free(live.pop(name))
        elif kind is EventKind.EMPTY_CACHE:
            allocator.empty_cache()
        elif name in done_without:
            done_without.remove(name)
        elif name not in (pending if kind is EventKind.FREE_COMPLETED else live):
            raise _not_live_freed(index, name)
        elif kind is EventKind.FREE_REQUESTED:
            pending[name] = allocator.request_free(live.pop(name))
        else:
            allocator.complete_free(pending.pop(name))
    if watch is not None:
        watch(allocator)
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


def _live_allocated(index: int, block: int) -> ValueError:
    return ValueError(f"request {index} allocates block {block}, which is live")


def _not_live_freed(index: int, block: int) -> ValueError:
    return ValueError(f"request {index} frees block {block}, which is not live")
