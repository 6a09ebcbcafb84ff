"""One round of a loop that writes tokens, taken apart: what it allocates, what it gives back.

In: the rows of a recording between two marks. Out: Round, or why two rounds are not alike.
Convention: memory that is given back before the next lasting request is scratch: a library chooses
it anew for each length. A lasting block of a round has the number of its request in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planner.memory.allocator.requests import Request
from planner.memory.sample_parts import short_lived
from planner.wire.trace import FREES, EventKind

_ALLOC, _FREE = EventKind.ALLOC, EventKind.FREE


class Ref(NamedTuple):
    """A block as a round knows it: by its number in the round `age` rounds ago."""

    age: int
    number: int


class Row(NamedTuple):
    """A row of a round. `scratch` is the block of scratch, by its name in the recording."""

    kind: EventKind
    ref: Ref | None
    scratch: int | None
    size_bytes: int
    stream: int
    place: int  # in the recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round: `rows` in order, `sizes_bytes` of its lasting blocks, and their names."""

    rows: tuple[Row, ...]
    sizes_bytes: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def lasting(self) -> tuple[tuple[EventKind, Ref | None, int], ...]:
        """Returns the rows without scratch and sizes; the order of successive frees is a hash's."""
        found: list[tuple[EventKind, Ref | None, int]] = []
        frees: list[tuple[EventKind, Ref | None, int]] = []
        for row in self.rows:
            if row.scratch is not None:
                continue
            if row.kind is _FREE:
                frees.append((row.kind, row.ref, row.stream))
                continue
            found += sorted(frees, key=lambda one: one[1] or Ref(-1, -1))
            frees = []
            found.append((row.kind, row.ref, row.stream))
        return (*found, *sorted(frees, key=lambda one: one[1] or Ref(-1, -1)))


def taken_apart(
    requests: Sequence[Request], begin: int, end: int, before: Sequence[Round]
) -> Round:
    """Returns the round of the rows from `begin` to `end`; `before` are rounds, the last one last.

    A free of a block that none of these rounds has made has no Ref.
    """
    rows = requests[begin:end]
    scratch = short_lived(rows)
    numbers: dict[int, Ref] = {}
    for age, one in enumerate(reversed(before), start=1):
        numbers |= {block: Ref(age, number) for number, block in enumerate(one.blocks)}
    found: list[Row] = []
    sizes: list[int] = []
    blocks: list[int] = []
    for index, (kind, block, size_bytes, stream) in enumerate(rows, start=begin):
        if block in scratch:
            found.append(Row(kind, None, block, size_bytes, stream, index))
            continue
        if kind is _ALLOC:
            numbers[block] = Ref(0, len(blocks))
            blocks.append(block)
            sizes.append(size_bytes)
        ref = None if kind is EventKind.EMPTY_CACHE else numbers.get(block)
        found.append(Row(kind, ref, None, size_bytes, stream, index))
    return Round(rows=tuple(found), sizes_bytes=tuple(sizes), blocks=tuple(blocks))


def unlike(one: Round, other: Round) -> str:
    """Says in what the lasting requests of two rounds differ; "": in nothing but sizes."""
    first, second = one.lasting, other.lasting
    if first == second:
        return ""
    if len(first) != len(second):
        return f"{len(first)} requests in one round, {len(second)} in another"
    where = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
    return f"{first[where][0].value} in one round, {second[where][0].value} in another"


def unknown_frees(one: Round) -> bool:
    """Returns whether the round gives a block back that is older than the rounds before it."""
    return any(row.ref is None and row.scratch is None and row.kind in FREES for row in one.rows)
