"""Request lists: names of blocks, the end at the first request that cannot be served, the card."""

from __future__ import annotations

import pytest

from planner.memory.allocator.device_memory import DeviceMemory
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import OutOfMemory, ReplayResult, Request, replay, requests_of
from planner.units import GIB, MIB
from planner.wire.trace import AllocationEvent, EventKind, RequestLog

SETTINGS = parse_alloc_conf("", "2.14.1")


def allocate(block: int, size_mib: int, stream: int = 0) -> Request:
    return Request(EventKind.ALLOC, block, size_mib * MIB, stream)


def free(block: int, kind: EventKind = EventKind.FREE) -> Request:
    return Request(kind, block)


def test_figures_of_a_list() -> None:
    result = replay(
        [allocate(1, 40), allocate(2, 20), free(1), allocate(1, 30), free(2)],
        SETTINGS,
        capacity_bytes=GIB,
    )
    assert result == ReplayResult(
        peak_allocated_bytes=60 * MIB,
        peak_active_bytes=60 * MIB,
        peak_reserved_bytes=60 * MIB,
        allocated_bytes=30 * MIB,
        reserved_bytes=60 * MIB,
        alloc_retries=0,
        out_of_memory=None,
    )


def test_the_replay_ends_where_memory_does() -> None:
    requests = [allocate(1, 40), allocate(2, 20), free(2), allocate(3, 100), allocate(4, 1)]
    result = replay(requests, SETTINGS, capacity_bytes=100 * MIB)
    assert result.out_of_memory == OutOfMemory(
        request_index=3,
        size_bytes=100 * MIB,
        allocated_bytes=40 * MIB,
        reserved_bytes=40 * MIB,
    )
    assert (result.alloc_retries, result.peak_reserved_bytes) == (1, 60 * MIB)


def test_emptying_the_cache() -> None:
    requests = [allocate(1, 40), free(1), Request(EventKind.EMPTY_CACHE), allocate(2, 60)]
    result = replay(requests, SETTINGS, capacity_bytes=GIB)
    assert result.peak_reserved_bytes == result.reserved_bytes == 60 * MIB


def test_memory_that_another_stream_uses_is_freed_in_two_steps() -> None:
    requests = [
        allocate(1, 40),
        free(1, EventKind.FREE_REQUESTED),
        allocate(2, 40),
        free(1, EventKind.FREE_COMPLETED),
        allocate(3, 40),
    ]
    result = replay(requests, SETTINGS, capacity_bytes=GIB)
    assert result.peak_allocated_bytes == 80 * MIB
    assert result.peak_active_bytes == result.peak_reserved_bytes == 80 * MIB


def test_events_of_a_trace_are_requests() -> None:
    events = [
        AllocationEvent(kind=EventKind.ALLOC, block=7, size_bytes=30 * MIB, stream=3),
        AllocationEvent(kind=EventKind.FREE, block=7, size_bytes=30 * MIB, stream=3),
        AllocationEvent(kind=EventKind.ALLOC, block=8, size_bytes=30 * MIB),
    ]
    requests = requests_of(events)
    assert requests[0] == Request(EventKind.ALLOC, 7, 30 * MIB, 3)
    result = replay(requests, SETTINGS, capacity_bytes=GIB)
    assert (result.peak_allocated_bytes, result.peak_reserved_bytes) == (30 * MIB, 60 * MIB)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([free(1)], "request 0 frees block 1, which is not live"),
        ([allocate(1, 1), free(1), free(1)], "request 2 frees block 1"),
        ([allocate(1, 1), allocate(1, 1)], "request 1 allocates block 1, which is live"),
    ],
)
def test_lists_that_cannot_be(requests: list[Request], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay(requests, SETTINGS, capacity_bytes=GIB)


def test_addresses_are_given_from_the_high_end_and_used_again() -> None:
    card = DeviceMemory(20 * MIB)
    first, second, third = (card.allocate(size * MIB) for size in (2, 4, 6))
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first - second, second - third) == (4 * MIB, 6 * MIB)
    card.release(second, 4 * MIB)
    assert card.allocate(MIB) == second + 2 * MIB  # a whole page, from the top of the gap
    assert card.allocate(4 * MIB) == third - 4 * MIB  # what is left of the gap is too small
    assert card.charged_bytes == 14 * MIB
    assert card.allocate(7 * MIB) is None
    assert card.allocate(6 * MIB) == third - 10 * MIB


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_event_is_a_request(kind: EventKind) -> None:
    (request,) = requests_of([AllocationEvent(kind=kind, block=3, size_bytes=512, stream=1)])
    assert request == Request(kind, 3, 512, 1)


def test_a_log_gives_the_requests_of_its_events() -> None:
    kinds = tuple(EventKind)
    blocks, sizes, streams = (range(n, n + len(kinds)) for n in (1, 512, 0))
    events = [
        AllocationEvent(kind=kind, block=block, size_bytes=size, stream=stream)
        for kind, block, size, stream in zip(kinds, blocks, sizes, streams, strict=True)
    ]
    log = RequestLog(
        kinds=kinds, blocks=tuple(blocks), sizes_bytes=tuple(sizes), streams=tuple(streams)
    )
    assert requests_of(log) == requests_of(events)
    assert requests_of(log)[0] == Request(kinds[0], 1, 512, 0)
