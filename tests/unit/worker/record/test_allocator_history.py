"""Entries of torch's memory history, written by hand, to requests."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from planner.wire.trace import EventKind
from planner.worker.record import allocator_history
from planner.worker.record.allocator_history import History, TracedRequest, block_numbers


def entry(action: str, addr: int = 0, stream: int = 0, **more: Any) -> dict[str, Any]:
    return {"action": action, "addr": addr, "size": 10, "stream": stream, "frames": [], **more}


def kinds(*entries: dict[str, Any], emptied: bool = True) -> list[tuple[EventKind, int]]:
    found = allocator_history._requests(list(entries), emptied)
    return [(request.kind, request.address) for request in found]


def test_a_free_that_completes_at_once_is_one_request() -> None:
    assert kinds(
        entry("segment_alloc", 1),
        entry("alloc", 1),
        entry("free_requested", 1),
        entry("free_completed", 1),
        entry("alloc", 1),
    ) == [(EventKind.ALLOC, 1), (EventKind.FREE, 1), (EventKind.ALLOC, 1)]


def test_a_free_that_waits_for_another_stream_is_two() -> None:
    assert kinds(
        entry("alloc", 1),
        entry("alloc", 2),
        entry("free_requested", 1),
        entry("free_requested", 2),
        entry("free_completed", 2),
        entry("free_completed", 1),
    ) == [
        (EventKind.ALLOC, 1),
        (EventKind.ALLOC, 2),
        (EventKind.FREE_REQUESTED, 1),
        (EventKind.FREE, 2),
        (EventKind.FREE_COMPLETED, 1),
    ]


def test_segments_given_back_together_are_one_emptying_of_the_cache() -> None:
    entries = [entry("segment_free", 1), entry("segment_free", 2), entry("alloc", 1)]
    assert kinds(*entries) == [(EventKind.EMPTY_CACHE, 0), (EventKind.ALLOC, 1)]
    assert kinds(*entries, emptied=False) == [(EventKind.ALLOC, 1)]
    assert kinds(entry("segment_unmap", 1)) == [(EventKind.EMPTY_CACHE, 0)]


def test_no_entries_are_no_requests() -> None:
    assert kinds() == []


def test_streams_are_numbered_as_they_appear() -> None:
    entries = [entry("alloc", n, stream) for n, stream in enumerate((0x77, 0, 0x99, 0x77))]
    requests = allocator_history._requests(entries, emptied=True)
    assert [request.stream for request in requests] == [1, 0, 2, 1]


def test_an_allocation_has_its_line_and_size() -> None:
    frames = [
        {"filename": torch.__file__, "line": 1, "name": "f"},
        {"filename": "/home/me/model.py", "line": 7, "name": "forward"},
    ]
    (request,) = allocator_history._requests([entry("alloc", 5, frames=frames)], emptied=True)
    assert request == TracedRequest(
        kind=EventKind.ALLOC, address=5, size_bytes=10, source="/home/me/model.py:7"
    )


def test_without_lines_there_are_no_frames() -> None:
    bare = {"action": "alloc", "addr": 5, "size": 10, "stream": 0}
    (request,) = allocator_history._requests([bare], emptied=True)
    assert request == TracedRequest(EventKind.ALLOC, 5, 10)


def test_a_block_has_one_number_from_its_beginning_to_its_end() -> None:
    kinds = [
        (EventKind.FREE, 9),  # of before
        (EventKind.ALLOC, 1),
        (EventKind.ALLOC, 2),
        (EventKind.FREE_REQUESTED, 1),
        (EventKind.FREE, 2),
        (EventKind.ALLOC, 2),
        (EventKind.EMPTY_CACHE, 0),
        (EventKind.FREE_COMPLETED, 1),
        (EventKind.FREE, 2),
    ]
    requests = [TracedRequest(kind, address) for kind, address in kinds]
    assert list(block_numbers(requests)) == [None, 0, 1, 0, 1, 2, None, 0, 2]


def test_a_history_until_a_position() -> None:
    requests = (
        TracedRequest(EventKind.ALLOC, 1),
        TracedRequest(EventKind.EMPTY_CACHE),
        TracedRequest(EventKind.FREE, 1),
    )
    history = History(requests=requests, places=(0, 2))
    assert history.until(0) == ()
    assert history.until(1) == requests[:2]
    assert history.until(2) == history.until(7) == requests


class FakeAllocator:
    """Counts requests as torch does, and shows a history of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, entries: list[dict[str, Any]]) -> None:
        self.requests = 0
        self.recording: list[tuple[Any, ...]] = []
        stats = {"num_alloc_retries": 0}
        private: Any = torch
        monkeypatch.setattr(
            private._C,
            "_cuda_memoryStats",
            lambda _: {**stats, "allocation": {"all": {"allocated": self.requests, "freed": 0}}},
            raising=False,
        )
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
        monkeypatch.setattr(
            torch.cuda.memory,
            "_record_memory_history",
            lambda what, context="all", stacks="all": self.recording.append((what, context)),
        )
        snapshot = {"device_traces": [entries], "segments": []}
        monkeypatch.setattr(torch.cuda.memory, "_snapshot", lambda: snapshot)


ENTRIES = [entry("alloc", 1), entry("free_requested", 1), entry("free_completed", 1)]


@pytest.mark.parametrize(("lines", "context"), [(True, "alloc"), (False, None)])
def test_lines_are_kept_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, lines: bool, context: str | None
) -> None:
    allocator = FakeAllocator(monkeypatch, ENTRIES)
    history = allocator_history.AllocatorHistory(torch.device("cuda", 0), lines=lines)
    history.start()
    allocator.requests = 2
    recorded = history.stop()
    assert recorded is not None
    assert [request.kind for request in recorded.requests] == [EventKind.ALLOC, EventKind.FREE]
    assert allocator.recording == [("all", context), (None, "all")]


def test_a_history_with_a_gap_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = FakeAllocator(monkeypatch, ENTRIES)
    history = allocator_history.AllocatorHistory(torch.device("cuda", 0))
    history.start()
    allocator.requests = 3
    assert history.stop() is None


def test_only_the_native_allocator_keeps_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    card = torch.device("cuda", 0)
    for backend, kept in (("native", True), ("cudaMallocAsync", False)):
        monkeypatch.setattr(torch.cuda.memory, "get_allocator_backend", lambda name=backend: name)
        assert allocator_history.is_kept(card) is kept
    assert not allocator_history.is_kept(torch.device("cpu"))


def test_blocks_in_use_are_those_of_the_device() -> None:
    def block(address: int, state: str) -> dict[str, Any]:
        return {"address": address, "size": 512, "requested_size": 10, "state": state}

    snapshot = {
        "segments": [
            {
                "device": 0,
                "stream": 5,
                "blocks": [block(1, "active_allocated"), block(2, "inactive")],
            },
            {"device": 1, "stream": 0, "blocks": [block(3, "active_allocated")]},
        ]
    }
    assert list(allocator_history._inherited(snapshot, 0)) == [
        TracedRequest(kind=EventKind.ALLOC, address=1, size_bytes=10, stream=1)
    ]


def test_a_snapshot_does_not_import_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(torch), "_inductor", raising=False)
    loaded = set(sys.modules)
    with allocator_history._no_import_of_inductor():
        assert not hasattr(torch._inductor, "codecache")
    assert "_inductor" not in vars(torch)
    assert set(sys.modules) == loaded


def test_an_inductor_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    there = object()
    monkeypatch.setitem(vars(torch), "_inductor", there)
    with allocator_history._no_import_of_inductor():
        assert vars(torch)["_inductor"] is there
    assert vars(torch)["_inductor"] is there
