"""PyTorch's own history of its caching allocator.

In: a device, between `start` and `stop`. Out: every request in the order in which the allocator
served it. Convention: a position is the number of requests before it; sizes are as requested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from planner.step.source_lines import innermost
from planner.trace import EventKind

_ENDS = ("segment_free", "segment_unmap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `stream` 0 is the default stream, others count in order of appearance."""

    kind: EventKind
    address: int = 0
    size_bytes: int = 0
    stream: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All requests. `places[p]` is where in `requests` the one at position p stands.

    A position counts what memory_stats() counts, ALLOC and the beginning of a free; `requests` has
    more than that where a free had to wait or the cache was emptied. The first `inherited` requests
    stand for memory that was taken before the recording began.
    """

    requests: tuple[Request, ...]
    places: tuple[int, ...]
    inherited: int = 0


class AllocatorHistory:
    """Records between `start` and `stop`. Costs about a microsecond for each request."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._index = device.index or 0
        self._inherited: list[Request] = []
        self._start = 0
        self._retries = 0

    def start(self) -> None:
        """From now on the allocator keeps each request, with the Python frames it came from."""
        if torch.cuda.memory_allocated(self._device):
            self._inherited = list(_inherited(_snapshot(), self._index))
        record: Any = torch.cuda.memory._record_memory_history  # untyped in torch
        record("all", context="alloc", stacks="python")
        self._start = self._count()
        self._retries = self._retry_count()

    def position(self) -> int:
        """How many requests there have been; exact, and some microseconds to ask for."""
        return self._count() - self._start + len(self._inherited)

    def block_bytes(self) -> dict[int, int]:
        """Sizes of the blocks that are in use now, by address."""
        return {
            block["address"]: block["size"] for _, block in _blocks_in_use(_snapshot(), self._index)
        }

    def stop(self) -> History:
        """Ends the recording."""
        entries = _snapshot()["device_traces"][self._index]
        record: Any = torch.cuda.memory._record_memory_history  # untyped in torch
        record(None)
        emptied = self._retry_count() == self._retries  # else a request that failed did it
        requests = [*self._inherited, *_requests(entries, emptied)]
        counted = (EventKind.ALLOC, EventKind.FREE, EventKind.FREE_REQUESTED)
        return History(
            requests=tuple(requests),
            places=tuple(i for i, request in enumerate(requests) if request.kind in counted),
            inherited=len(self._inherited),
        )

    def _count(self) -> int:
        allocation = torch._C._cuda_memoryStats(self._index)["allocation"]["all"]
        return int(allocation["allocated"] + allocation["freed"])

    def _retry_count(self) -> int:
        return int(torch._C._cuda_memoryStats(self._index)["num_alloc_retries"])


def _requests(entries: list[dict[str, Any]], emptied: bool) -> Iterator[Request]:
    streams = {0: 0}
    previous = ""
    for index, entry in enumerate(entries):
        action = entry["action"]
        if action == "alloc":
            yield _request(EventKind.ALLOC, entry, streams, innermost(entry["frames"]))
        elif action == "free_requested":
            yield _request(_free_kind(entries, index), entry, streams)
        elif action == "free_completed" and not _completes_at_once(entries, index - 1):
            yield _request(EventKind.FREE_COMPLETED, entry, streams)
        elif action in _ENDS and previous not in _ENDS and emptied:
            yield Request(kind=EventKind.EMPTY_CACHE)
        previous = action


def _request(
    kind: EventKind, entry: dict[str, Any], streams: dict[int, int], source: str = ""
) -> Request:
    return Request(
        kind=kind,
        address=entry["addr"],
        size_bytes=entry["size"],
        stream=streams.setdefault(entry["stream"], len(streams)),
        source=source,
    )


def _free_kind(entries: list[dict[str, Any]], index: int) -> EventKind:
    return EventKind.FREE if _completes_at_once(entries, index) else EventKind.FREE_REQUESTED


def _completes_at_once(entries: list[dict[str, Any]], index: int) -> bool:
    """Whether the entry at `index` is a free, and its completion the next entry."""
    if not 0 <= index < len(entries) - 1:
        return False
    request, completion = entries[index], entries[index + 1]
    return bool(
        request["action"] == "free_requested"
        and completion["action"] == "free_completed"
        and request["addr"] == completion["addr"]
    )


def _blocks_in_use(
    snapshot: dict[str, Any], index: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for segment in snapshot["segments"]:
        for block in segment["blocks"] if segment["device"] == index else ():
            if block["state"] == "active_allocated":
                yield segment, block


def _inherited(snapshot: dict[str, Any], index: int) -> Iterator[Request]:
    streams = {0: 0}
    for segment, block in _blocks_in_use(snapshot, index):
        yield Request(
            kind=EventKind.ALLOC,
            address=block["address"],
            size_bytes=block["requested_size"],
            stream=streams.setdefault(segment["stream"], len(streams)),
        )


def _snapshot() -> dict[str, Any]:
    with _no_import_of_inductor():
        take: Any = torch.cuda.memory._snapshot  # untyped in torch
        snapshot: dict[str, Any] = take()
    return snapshot


@contextmanager
def _no_import_of_inductor() -> Iterator[None]:
    """A snapshot asks torch._inductor for frames of compiled code, and so imports it: seconds.

    Where nothing has imported it, nothing is compiled, and an empty stand-in gives that answer.
    """
    if "_inductor" in vars(torch):
        yield
        return
    torch.__dict__["_inductor"] = object()
    try:
        yield
    finally:
        del torch.__dict__["_inductor"]
