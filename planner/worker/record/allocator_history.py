"""PyTorch's own history of its caching allocator.

In: a device, between `start` and `stop`. Out: every request in the order in which the allocator
served it. Convention: a position is the number of requests before it; sizes are as requested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch

from planner.wire.trace import EventKind
from planner.worker.target.source_lines import innermost

_ENDS = ("segment_free", "segment_unmap")
_NO_ENTRY = {"action": "", "addr": 0}
# The requests that memory_stats() counts; a free counts when it begins.
_COUNTED = (EventKind.ALLOC, EventKind.FREE, EventKind.FREE_REQUESTED)


class TracedRequest(NamedTuple):
    """One request. `stream` 0 is the default stream, others count in order of appearance.

    A tuple, because a run has tens of thousands and a dataclass takes four times as long to make.
    """

    kind: EventKind
    address: int = 0
    size_bytes: int = 0
    stream: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All requests. `places[p]` is the index in `requests` of the request at position p.

    Positions count the requests that memory_stats() counts: ALLOC and the beginning of a free.
    `requests` has more if a free had to wait or the cache was emptied. The first `inherited`
    requests are for memory that was taken before the recording began.
    """

    requests: tuple[TracedRequest, ...]
    places: tuple[int, ...]
    inherited: int = 0

    def until(self, position: int) -> tuple[TracedRequest, ...]:
        """Returns the requests before the one at `position`; all if there is none."""
        if position >= len(self.places):
            return self.requests
        return self.requests[: self.places[position]]


def block_numbers(requests: Iterable[TracedRequest]) -> Iterator[int | None]:
    """Yields each request's block number, in order of allocation; None without a block."""
    live: dict[int, int] = {}
    following = 0
    for request in requests:
        if request.kind is EventKind.ALLOC:
            live[request.address] = following
            yield following
            following += 1
        elif request.kind is EventKind.FREE_REQUESTED:
            yield live.get(request.address)
        elif request.kind is EventKind.EMPTY_CACHE:
            yield None
        else:
            yield live.pop(request.address, None)


def is_kept(device: torch.device) -> bool:
    """Returns whether the allocator keeps a history on `device`; cudaMallocAsync does not."""
    if device.type != "cuda":
        return False
    backend: Any = torch.cuda.memory.get_allocator_backend  # untyped in torch
    return bool(backend() == "native")


class AllocatorHistory:
    """Records requests between `start` and `stop`; with `lines`, also their lines of code.

    Costs about a microsecond for each request, and another for its line.
    """

    def __init__(self, device: torch.device, *, lines: bool = False) -> None:
        self._device = device
        self._lines = lines
        self._index = device.index or 0
        self._inherited: list[TracedRequest] = []
        self._start = 0
        self._retries = 0

    def start(self) -> None:
        """Makes the allocator keep each request from now on."""
        if torch.cuda.memory_allocated(self._device):
            self._inherited = list(_inherited(_snapshot(), self._index))
        record: Any = torch.cuda.memory._record_memory_history  # untyped in torch
        record("all", context="alloc" if self._lines else None, stacks="python")
        self._start = self._count()
        self._retries = self._retry_count()

    def position(self) -> int:
        """Returns the exact number of requests so far; costs some microseconds."""
        return self._count() - self._start + len(self._inherited)

    def block_bytes(self) -> dict[int, int]:
        """Returns sizes of the blocks that are in use now, by address."""
        return {
            block["address"]: block["size"] for _, block in _blocks_in_use(_snapshot(), self._index)
        }

    def stop(self) -> History | None:
        """Ends the recording and returns it; None if requests are missing.

        The user's code can end torch's history, or begin one that forgets.
        """
        position = self.position()
        entries = _snapshot()["device_traces"][self._index]
        record: Any = torch.cuda.memory._record_memory_history  # untyped in torch
        record(None)
        emptied = self._retry_count() == self._retries  # else a request that failed did it
        requests = [*self._inherited, *_requests(entries, emptied)]
        places = tuple(i for i, request in enumerate(requests) if request.kind in _COUNTED)
        if len(places) != position:
            return None
        return History(requests=tuple(requests), places=places, inherited=len(self._inherited))

    def _count(self) -> int:
        allocation = torch._C._cuda_memoryStats(self._index)["allocation"]["all"]
        return int(allocation["allocated"] + allocation["freed"])

    def _retry_count(self) -> int:
        return int(torch._C._cuda_memoryStats(self._index)["num_alloc_retries"])


def _requests(entries: list[dict[str, Any]], emptied: bool) -> Iterator[TracedRequest]:
    streams = {0: 0}
    previous = ""
    completed = False  # whether the free before this entry ends with it, and was counted as one
    for entry, following in pairwise([*entries, _NO_ENTRY]):
        action = entry["action"]
        if action == "alloc":
            yield _request(EventKind.ALLOC, entry, streams, innermost(entry.get("frames", ())))
        elif action == "free_requested":
            completed = (
                following["action"] == "free_completed" and following["addr"] == entry["addr"]
            )
            kind = EventKind.FREE if completed else EventKind.FREE_REQUESTED
            yield _request(kind, entry, streams)
        elif action == "free_completed":
            if not completed:
                yield _request(EventKind.FREE_COMPLETED, entry, streams)
            completed = False
        elif action in _ENDS and previous not in _ENDS and emptied:
            yield TracedRequest(EventKind.EMPTY_CACHE)
        previous = action


def _request(
    kind: EventKind, entry: dict[str, Any], streams: dict[int, int], source: str = ""
) -> TracedRequest:
    stream = streams.setdefault(entry["stream"], len(streams))
    return TracedRequest(kind, entry["addr"], entry["size"], stream, source)


def _blocks_in_use(
    snapshot: dict[str, Any], index: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for segment in snapshot["segments"]:
        for block in segment["blocks"] if segment["device"] == index else ():
            if block["state"] == "active_allocated":
                yield segment, block


def _inherited(snapshot: dict[str, Any], index: int) -> Iterator[TracedRequest]:
    streams = {0: 0}
    for segment, block in _blocks_in_use(snapshot, index):
        yield TracedRequest(
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
    """Keeps a snapshot from importing torch._inductor (seconds) for frames of compiled code.

    If nothing has imported it, nothing is compiled: an empty stand-in is enough.
    """
    if "_inductor" in vars(torch):
        yield
        return
    torch.__dict__["_inductor"] = object()
    try:
        yield
    finally:
        del torch.__dict__["_inductor"]
