"""The requests of a program to the allocator, as records and packed into columns.

In: the requests of a recorded run. Out: Request, PackedRequests. Convention: a replay in native
code reads columns, so a list that is replayed often is packed once.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from planner.wire.trace import AllocationEvent, EventKind, RequestLog


class Request(NamedTuple):
    """One request. `block` is the caller's name for the memory, unique while it is live."""

    kind: EventKind
    block: int = 0
    size_bytes: int = 0
    stream: int = 0


_KINDS = (  # in the order of Kind in emulator/native/replay/replay.cpp
    EventKind.ALLOC,
    EventKind.FREE,
    EventKind.FREE_REQUESTED,
    EventKind.FREE_COMPLETED,
    EventKind.EMPTY_CACHE,
)
# By id: the hash of an Enum takes long, and each member exists once.
_CODES = {id(kind): code for code, kind in enumerate(_KINDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRequests:
    """Requests in columns of machine words; entry i of each column belongs to request i.

    `kinds` are indices into _KINDS. `blocks` are indices into `names`, the caller's names.
    `optional` has a 1 for each name of a block that the program can do without; None: it has none.
    """

    kinds: bytes
    blocks: array[int]
    sizes_bytes: array[int]
    streams: array[int]
    names: tuple[int, ...]
    optional: bytes | None

    def block(self, index: int) -> int:
        """Returns the caller's name for the block of a request."""
        return self.names[self.blocks[index]]

    def requests(self) -> list[Request]:
        """Returns the requests as records."""
        kinds = map(_KINDS.__getitem__, self.kinds)
        blocks = map(self.names.__getitem__, self.blocks)
        return list(map(Request, kinds, blocks, self.sizes_bytes, self.streams))

    def optional_blocks(self) -> frozenset[int]:
        """Returns the caller's names of the blocks that the program can do without."""
        marks = self.optional or bytes(len(self.names))
        return frozenset(name for name, mark in zip(self.names, marks, strict=True) if mark)


def packed(
    requests: Sequence[Request], optional: Collection[int] = ()
) -> PackedRequests | Sequence[Request]:
    """Packs the requests; returns them as they are where a number has more than 63 bits."""
    kinds, blocks, sizes_bytes, streams = zip(*requests, strict=True) if requests else ((),) * 4
    number: defaultdict[int, int] = defaultdict(count().__next__)
    try:
        return PackedRequests(
            kinds=bytes(map(_CODES.__getitem__, map(id, kinds))),
            blocks=array("i", map(number.__getitem__, blocks)),
            sizes_bytes=array("q", sizes_bytes),
            streams=array("q", streams),
            names=tuple(number),
            optional=bytes(name in optional for name in number) if optional else None,
        )
    except OverflowError:
        return requests


def requests_of(recorded: RequestLog | Iterable[AllocationEvent]) -> list[Request]:
    """Returns the requests of a recorded run."""
    if isinstance(recorded, RequestLog):
        log = recorded
        return list(map(Request, log.kinds, log.blocks, log.sizes_bytes, log.streams))
    return [Request(event.kind, event.block, event.size_bytes, event.stream) for event in recorded]
