"""Makes the requests of a whole generation from recordings of its first and its last tokens.

In: two recordings with marks of their rounds: the first tokens after the prompt, and the last ones.
Out: the requests of all rounds, or why there are none. Convention: rounds make the same lasting
requests, and each size is affine in the number of the round, as a cache that grows by a token is;
both recordings have rounds by which that is checked. Scratch is that of the nearer recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from planner.memory.allocator.requests import Request
from planner.memory.generation.rounds import Round, taken_apart, unknown_frees, unlike
from planner.wire.trace import EventKind

RECORDED = 5
"""Rounds of a recording. The first one ends the prompt, the second may give back what is left of
it; the last three are alike."""
_OLDEST = 2  # rounds that a block may outlive its own: that of beams does

_ALLOC = EventKind.ALLOC


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTokens:
    """The requests of one run, and the rows at which the rounds of each step begin."""

    requests: Sequence[Request]
    rounds: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """Why the rounds between cannot be told, in words."""

    reason: str


class UnrolledRow(NamedTuple):
    """A request, and the row it is made after: of the last recording, or of the first."""

    request: Request
    is_of_last: bool
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrolled:
    """The requests of a generation. `rounds` of `tokens` are there, some left out in between."""

    rows: tuple[UnrolledRow, ...]
    rounds: int
    tokens: int

    @property
    def requests(self) -> tuple[Request, ...]:
        """Returns the requests alone."""
        return tuple(row.request for row in self.rows)


def unrolled(
    first: RecordedTokens, last: RecordedTokens, tokens: int, most: int
) -> Unrolled | Unlike:
    """Returns the requests of `tokens` rounds in each step, of which at most `most` are made.

    `first` has the rounds 1 to RECORDED, `last` those that end with `tokens`.
    """
    steps = len(first.rounds)
    if not steps or len(last.rounds) != steps:
        return Unlike(reason="the loop that writes tokens was not seen")
    if any(len(one) != RECORDED + 1 for one in (*first.rounds, *last.rounds)):
        return Unlike(reason="the loop has written another number of tokens than it was asked for")
    made = _Making(first, last, tokens, most)
    for step in range(steps):
        reason = made.add(step)
        if reason:
            return Unlike(reason=reason)
    made.add_rest()
    return Unrolled(rows=tuple(made.rows), rounds=made.rounds, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """The last round of a recording, and those before, the oldest first."""

    before: tuple[Round, ...]
    round: Round
    number: int
    is_of_last: bool

    @property
    def rounds(self) -> tuple[Round, ...]:
        """Returns all of them, the oldest first."""
        return (*self.before, self.round)


class _Making:
    """Writes the rows step by step; blocks get new names where rounds are added."""

    def __init__(self, first: RecordedTokens, last: RecordedTokens, tokens: int, most: int) -> None:
        self.rows: list[UnrolledRow] = []
        self.rounds = 0
        self._first, self._last = first, last
        self._tokens = tokens
        self._added = _chosen(RECORDED + 1, tokens, most - RECORDED)
        self._written = 0  # rows of the first recording
        self._names: dict[int, int] = {}  # of blocks of the first recording that stand for later
        self._next = 1 + max((one.block for one in (*first.requests, *last.requests)), default=0)

    def add(self, step: int) -> str:
        """Adds a step up to the end of its loop; returns why it cannot be done."""
        early = self._pattern(self._first, step, RECORDED, is_of_last=False)
        late = self._pattern(self._last, step, self._tokens, is_of_last=True)
        reason = _unlike(early, late)
        if reason:
            return reason
        line = _Line(early, late)
        if not line.holds():
            return "a tensor does not grow by the same size with each token"
        self._copy_until(self._first.rounds[step][RECORDED])
        held = [[self._name(block) for block in one.blocks] for one in early.rounds]
        for number in self._added:
            nearer = early if 2 * number < RECORDED + self._tokens else late
            held = [*held[1:], self._add_round(nearer, line.at(number), held)]
        for one, names in zip(early.rounds, held, strict=True):
            self._names |= dict(zip(one.blocks, names, strict=True))
        self.rounds = RECORDED + len(self._added)
        return ""

    def add_rest(self) -> None:
        """Adds what comes after the last loop."""
        self._copy_until(len(self._first.requests))

    def _pattern(self, of: RecordedTokens, step: int, number: int, *, is_of_last: bool) -> _Pattern:
        heads = of.rounds[step]
        older: list[Round] = []
        for begin, end in pairwise(heads[1:]):
            older.append(taken_apart(of.requests, begin, end, older[-_OLDEST:]))
        *before, last = older[-_OLDEST - 1 :]
        return _Pattern(before=tuple(before), round=last, number=number, is_of_last=is_of_last)

    def _copy_until(self, end: int) -> None:
        for index in range(self._written, end):
            kind, block, size_bytes, stream = self._first.requests[index]
            request = Request(kind, self._name(block), size_bytes, stream)
            self.rows.append(UnrolledRow(request, False, index))
        self._written = end

    def _name(self, block: int) -> int:
        return self._names.get(block, block)

    def _add_round(
        self, pattern: _Pattern, sizes: Sequence[int], before: Sequence[Sequence[int]]
    ) -> list[int]:
        """Adds a round after those `before`; returns the names of its lasting blocks."""
        own: list[int] = []
        scratch: dict[int, int] = {}
        for kind, ref, of_scratch, size_bytes, stream, place in pattern.round.rows:
            if of_scratch is not None:
                if kind is _ALLOC:
                    scratch[of_scratch] = self._new()
                block = scratch[of_scratch]
            elif ref is None:
                block = 0  # the cache is emptied
            elif kind is _ALLOC:
                block, size_bytes = self._new(), sizes[ref.number]
                own.append(block)
            else:
                block = (before[-ref.age] if ref.age else own)[ref.number]
            request = Request(kind, block, size_bytes, stream)
            self.rows.append(UnrolledRow(request, pattern.is_of_last, place))
        return own

    def _new(self) -> int:
        self._next += 1
        return self._next - 1


class _Line:
    """The sizes of lasting blocks in any round: on a line through the last rounds of two patterns.

    A block that has the same size in all rounds of each recording, and another in each, has the
    larger one: the longer prompt may have made it smaller (indices of beams), or it grows seldom.
    """

    def __init__(self, early: _Pattern, late: _Pattern) -> None:
        self._early, self._late = early, late
        of_each = [_is_steady(pattern) for pattern in (early, late)]
        self._steady = [one and other for one, other in zip(*of_each, strict=True)]

    def at(self, number: int) -> list[int]:
        """Returns the sizes in a round."""
        above, whole = number - self._early.number, self._late.number - self._early.number
        ends = (self._early.round.sizes_bytes, self._late.round.sizes_bytes)
        return [
            max(one, other) if steady else one + (other - one) * above // whole
            for one, other, steady in zip(*ends, self._steady, strict=True)
        ]

    def holds(self) -> bool:
        """Returns whether the rounds before the last ones are on the line too."""
        return all(
            steady or size == right
            for pattern in (self._early, self._late)
            for age, one in enumerate(reversed(pattern.before), start=1)
            for size, right, steady in zip(
                one.sizes_bytes, self.at(pattern.number - age), self._steady, strict=True
            )
        )


def _is_steady(pattern: _Pattern) -> list[bool]:
    """Returns for each lasting block whether it has the same size in all rounds of a recording."""
    columns = zip(*(one.sizes_bytes for one in pattern.rounds), strict=True)
    return [len(set(column)) == 1 for column in columns]


def _unlike(early: _Pattern, late: _Pattern) -> str:
    """Says why the rounds of two patterns are not alike; "": in all but sizes they are."""
    if unknown_frees(early.round) or unknown_frees(late.round):
        return f"a round gives memory back that is older than the {_OLDEST} rounds before it"
    reason = unlike(early.round, late.round)
    if reason:
        return reason
    if len({len(one.blocks) for one in (*early.rounds, *late.rounds)}) > 1:
        return "a round keeps another number of tensors than the one before it"
    return ""


def _chosen(begin: int, end: int, most: int) -> list[int]:
    """Returns at most `most` whole numbers from `begin` to `end`: evenly apart, then the last ones.

    The last ones are neighbours, because a tensor is copied from one that is a token shorter.
    """
    numbers = end - begin + 1
    if numbers <= most:
        return list(range(begin, end + 1))
    last = _OLDEST + 1
    return [*_evenly(begin, end - last, most - last), *range(end - last + 1, end + 1)]


def _evenly(begin: int, end: int, most: int) -> Iterator[int]:
    for index in range(1, most + 1):
        yield begin - 1 + (end - begin + 1) * index // most
