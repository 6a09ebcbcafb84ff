"""Entries of torch's memory history, written by hand, to requests."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from planner.step import allocator_history
from planner.step.allocator_history import Request
from planner.trace import EventKind


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
    assert request == Request(
        kind=EventKind.ALLOC, address=5, size_bytes=10, source="/home/me/model.py:7"
    )


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
        Request(kind=EventKind.ALLOC, address=1, size_bytes=10, stream=1)
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
