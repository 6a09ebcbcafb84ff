"""Packs the timeline of a step into columns that a page carries: all requests, to the byte.

In: a Timeline. Out: columns as base64 of deflated arrays of 32-bit integers. Convention: equal
columns have the same key, so that batches and cards share them; sizes are in `unit_bytes`.
"""

from __future__ import annotations

import zlib
from array import array
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from math import gcd
from typing import Any

from planner.memory.timeline import Timeline
from planner.results.palette import STACK
from planner.wire.trace import EventKind

CATEGORIES = tuple(one.value for one in STACK)
_NUMBER = {one: index for index, one in enumerate(STACK)}
_NOBODY = -1  # the owner of a request without a block
_MOST = 1 << 31


class Columns:
    """The columns of a page. `blobs` has each of them once, by its key."""

    def __init__(self) -> None:
        self.blobs: dict[str, str] = {}

    def add(self, numbers: Sequence[int]) -> str:
        """Stores a column, and returns its key.

        Raises:
            OverflowError: a number has more than 32 bits.
        """
        data = array("i", numbers)
        if data.itemsize != 4 or any(abs(one) >= _MOST for one in numbers):
            raise OverflowError("a column of a page holds numbers of 32 bits")
        packed = zlib.compress(data.tobytes(), 9)
        key = sha256(packed).hexdigest()[:16]
        self.blobs.setdefault(key, b64encode(packed).decode())
        return key

    def timeline(self, timeline: Timeline, origins: OriginNumbers) -> dict[str, Any]:
        """Stores a timeline, and returns what finds it again.

        `owners` is the request that allocated the block of each request, as a difference to the
        request's own place; `changes` are sizes of blocks, and 0 where a block is freed whole.
        """
        owners = _owners(timeline)
        unit = gcd(*timeline.changes_bytes, *timeline.reserved_bytes) or 1
        return {
            "requests": len(timeline.events),
            "unit_bytes": unit,
            "owners": self.add([index - owner for index, owner in enumerate(owners)]),
            "changes": self.add([one // unit for one in _rests(timeline.changes_bytes, owners)]),
            "reserved": self.add(_steps(timeline.reserved_bytes, unit)),
            "has_reserved": bool(timeline.reserved_bytes),
            "categories": self.add([_NUMBER[event.category] for event in timeline.events]),
            "origins": self.add(
                [origins.number(timeline, event.origin) for event in timeline.events]
            ),
            "phases": [
                [span.step, span.phase.value, span.begin, span.end] for span in timeline.phases()
            ],
        }


class OriginNumbers:
    """Numbers the origins of all timelines of a page; alike ones share a number."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self._numbers: dict[tuple[str, str, str, str], int] = {}

    def number(self, timeline: Timeline, origin: int) -> int:
        """Returns the number of an origin of the timeline."""
        found = timeline.origins[origin]
        row = (found.module, found.tensor, found.operator, found.source)
        if row not in self._numbers:
            self._numbers[row] = len(self.rows)
            self.rows.append(row)
        return self._numbers[row]

    def columns(self) -> dict[str, list[str]]:
        """Returns the origins as a list for each of their parts."""
        names = ("module", "tensor", "operator", "source")
        return {name: [row[place] for row in self.rows] for place, name in enumerate(names)}


def _owners(timeline: Timeline) -> list[int]:
    """Returns for each request the place of the one that allocated its block."""
    begun: dict[int, int] = {}
    owners = []
    for index, event in enumerate(timeline.events):
        if event.kind is EventKind.ALLOC:
            begun[event.block] = index
        owners.append(begun.get(event.block, _NOBODY))
    return owners


def _rests(changes_bytes: Sequence[int], owners: Sequence[int]) -> list[int]:
    """Returns the size of each allocation, and by how much another request is not its end."""
    return [
        change if owner in (index, _NOBODY) else change + changes_bytes[owner]
        for index, (change, owner) in enumerate(zip(changes_bytes, owners, strict=True))
    ]


def _steps(levels: Sequence[int], unit: int) -> list[int]:
    return [(after - before) // unit for before, after in zip((0, *levels), levels, strict=False)]
