"""Takes a recorded run apart: lasting requests, by which runs are compared, and scratch.

In: a Sample. Out: SampleParts, or the first difference of two as a Mismatch. Convention: scratch is
memory that is given back before the next request that is no scratch itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.memory.allocator.requests import Request
from planner.wire.trace import EventKind

_ALLOC, _FREE = EventKind.ALLOC, EventKind.FREE  # a lookup in an Enum takes long
_NESTING = 2  # scratch within the time of other scratch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The requests of one run. `workspaces` are blocks requested by a library, where known."""

    value: int
    requests: tuple[Request, ...]
    workspaces: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The first request in which two runs differ by more than sizes and scratch, in words."""

    reason: str


class SampleParts:
    """Splits a sample into lasting requests, by which runs are compared, and scratch."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.value = sample.value
        self.requests = sample.requests
        self.workspaces = sample.workspaces
        self.scratch: dict[int, list[int]] = {}  # number of lasting blocks before it: its sizes
        self.sizes: list[int] = []  # of lasting blocks
        self.place: dict[int, tuple[int, int]] = {}  # scratch block: its place in `scratch`
        self.lasting: list[tuple[EventKind, int, int]] = []
        self._number: dict[int, int] = {}
        self._take_apart(short_lived(sample.requests))
        self._settle_frees()

    def _take_apart(self, scratch: set[int]) -> None:
        sizes, numbers, lasting = self.sizes, self._number, self.lasting
        for kind, block, size_bytes, stream in self.requests:
            if block in scratch:
                if kind is _ALLOC:
                    here = self.scratch.setdefault(len(sizes), [])
                    self.place[block] = (len(sizes), len(here))
                    here.append(size_bytes)
                continue
            if kind is _ALLOC:
                numbers[block] = len(sizes)
                sizes.append(size_bytes)
            lasting.append((kind, numbers.get(block, -1), stream))

    def _settle_frees(self) -> None:
        """Sorts successive frees: their order is that of a hash, and changes no figure."""
        begin = 0
        others = [index for index, entry in enumerate(self.lasting) if entry[0] is not _FREE]
        for index in (*others, len(self.lasting)):
            if index - begin > 1:
                self.lasting[begin:index] = sorted(self.lasting[begin:index])
            begin = index + 1

    def compared(self, other: SampleParts) -> Mismatch | None:
        """Returns the first difference in the lasting requests of two samples, if there is one."""
        for one, two in zip(self.lasting, other.lasting, strict=False):
            if one != two:
                return Mismatch(
                    reason=f"{_told(one)} at {self.value}, {_told(two)} at {other.value}"
                )
        if len(self.lasting) != len(other.lasting):
            return Mismatch(
                reason=f"{len(self.lasting)} requests at {self.value}, "
                f"{len(other.lasting)} at {other.value}"
            )
        return None

    def number(self, block: int) -> int:
        """Returns the number of a lasting block, from 0 on."""
        return self._number[block]


def short_lived(requests: Sequence[Request]) -> set[int]:
    """Returns the blocks that are freed before any request except scratch."""
    scratch: set[int] = set()
    for _ in range(_NESTING):
        found: set[int] = set()
        last = None
        for kind, block, _, _ in requests:
            if block in scratch:
                continue
            if kind is _ALLOC:
                last = block
            elif kind is not _FREE:
                last = None
            elif block == last:
                found.add(block)
                last = None
        scratch |= found
    return scratch


def _told(request: tuple[EventKind, int, int]) -> str:
    kind, number, stream = request
    return f"{kind.value} of block {number}" + (f" on stream {stream}" if stream else "")
