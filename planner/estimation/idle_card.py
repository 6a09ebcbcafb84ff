"""Gives peak reserved of a run on a card that keeps up with the host, by replay.

In: the requests of a run on a card that is behind the host. Out: the peak over that of the run.
Convention: the program makes the same requests on both cards; only the moment differs in which
memory comes back that another stream has used (record_stream).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.replay import Request, replay
from planner.memory.allocator.settings import AllocatorSettings
from planner.wire.trace import EventKind


def idle_fraction(
    requests: Sequence[Request], settings: AllocatorSettings | None, *, total_memory_bytes: int
) -> float:
    """Returns peak reserved of the card that keeps up over that of the run, without a limit.

    1.0 where no memory waits for another stream, or where nothing can be replayed.
    """
    if settings is None or all(one.kind is not EventKind.FREE_REQUESTED for one in requests):
        return 1.0
    behind, idle = (
        replay(
            made,
            settings,
            capacity_bytes=WITHOUT_LIMIT_BYTES,
            total_memory_bytes=total_memory_bytes,
        ).peak_reserved_bytes
        for made in (requests, list(freed_at_once(requests)))
    )
    return idle / max(1, behind)


def freed_at_once(requests: Iterable[Request]) -> Iterator[Request]:
    """Yields the requests with each free complete at once."""
    for one in requests:
        if one.kind is EventKind.FREE_REQUESTED:
            yield one._replace(kind=EventKind.FREE)
        elif one.kind is not EventKind.FREE_COMPLETED:
            yield one
