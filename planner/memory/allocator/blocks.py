"""Links blocks of device memory; keeps a pool's free blocks of one stream in order of best fit.

In: addresses and sizes. Out: Block, FreeBlocks, Numbering. Convention: a block knows its neighbours
in the segment; `in_use` and unmapped blocks are never in FreeBlocks.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from planner.memory.allocator.settings import TieBreak


class Block:
    """A stretch of a segment. `order` breaks ties between free blocks of one size."""

    __slots__ = ("address", "freed_at", "home", "in_use", "mapped", "next", "order", "previous",
                 "segment_begin", "size_bytes")  # fmt: skip

    def __init__(self, home: FreeBlocks, address: int, size_bytes: int, order: int) -> None:
        self.home = home
        self.address = address
        self.size_bytes = size_bytes
        self.order = order
        self.in_use = False
        self.mapped = True
        self.freed_at = 0  # searches of the pool when the block became free
        self.segment_begin = address  # an expandable segment counts its pages from here
        self.previous: Block | None = None
        self.next: Block | None = None

    @property
    def is_split(self) -> bool:
        """Returns whether the segment has other blocks than this one."""
        return self.previous is not None or self.next is not None

    def cut(self, size_bytes: int, order: int) -> Block:
        """Makes a block of this one's first `size_bytes`; this block keeps the rest."""
        front = Block(self.home, self.address, size_bytes, order)
        front.segment_begin = self.segment_begin
        front.previous = previous = self.previous
        if previous is not None:
            previous.next = front
        front.next = self
        self.previous = front
        self.address += size_bytes
        self.size_bytes -= size_bytes
        return front

    def link_before(self, block: Block) -> None:
        """Puts this new block right before `block` in its segment."""
        previous = block.previous
        self.segment_begin = block.segment_begin
        self.previous, self.next = previous, block
        if previous is not None:
            previous.next = self
        block.previous = self

    def link_after(self, block: Block) -> None:
        """Puts this new block right after `block` in its segment."""
        following = block.next
        self.segment_begin = block.segment_begin
        self.previous, self.next = block, following
        if following is not None:
            following.previous = self
        block.next = self

    def absorb_neighbours(self) -> None:
        """Joins the free neighbours whose `mapped` is the same as this block's."""
        before = self.previous
        if before is not None and not before.in_use and before.mapped is self.mapped:
            before.home.remove(before)
            self.address = before.address
            self.size_bytes += before.size_bytes
            self.previous = before = before.previous
            if before is not None:
                before.next = self
        after = self.next
        if after is not None and not after.in_use and after.mapped is self.mapped:
            after.home.remove(after)
            self.size_bytes += after.size_bytes
            self.next = after = after.next
            if after is not None:
                after.previous = self


class FreeBlocks:
    """Free blocks of one pool (small or large) and one stream, smallest first.

    A block with at least `smallest_rest_bytes` more than a request is cut in two.
    `unmapped` holds, by address, the parts of expandable segments that have no memory.
    """

    __slots__ = ("entries", "is_small", "smallest_rest_bytes", "stream", "unmapped")

    def __init__(self, *, is_small: bool, stream: int, smallest_rest_bytes: int) -> None:
        self.is_small = is_small
        self.stream = stream
        self.smallest_rest_bytes = smallest_rest_bytes
        # (size_bytes, order, address, block): no two addresses are equal, so that bisection never
        # compares blocks.
        self.entries: list[tuple[int, int, int, Block]] = []
        self.unmapped: list[Block] = []

    @property
    def blocks(self) -> list[Block]:
        """Returns the free blocks, smallest first, in a list of its own."""
        return [entry[3] for entry in self.entries]

    def insert(self, block: Block) -> None:
        """Files a free block under its size."""
        if block.mapped:
            insort(self.entries, (block.size_bytes, block.order, block.address, block))
        else:
            self.unmapped.insert(self._unmapped_index(block.address), block)

    def remove(self, block: Block) -> None:
        """Takes out a block that has not changed since it was inserted."""
        if block.mapped:
            key = (block.size_bytes, block.order, block.address)
            del self.entries[bisect_left(self.entries, key)]
        else:
            del self.unmapped[self._unmapped_index(block.address)]

    def first_of(self, size_bytes: int) -> int:
        """Returns the index of the best fit for `size_bytes`; len(entries): all are too small."""
        return bisect_left(self.entries, (size_bytes,))

    def _unmapped_index(self, address: int) -> int:
        return bisect_left([block.address for block in self.unmapped], address)


class Numbering:
    """Gives blocks the `order` by which the version of torch breaks ties."""

    def __init__(self, tie_break: TieBreak) -> None:
        # Kept as flags: they are asked for each block, and a lookup in an Enum takes long.
        self._numbers_segments = tie_break is not TieBreak.LOWEST_ADDRESS
        self._numbers_parts = tie_break is TieBreak.OLDEST_BLOCK
        self._last = 0

    def of_segment(self) -> int:
        """Returns the order of the first block of a new segment."""
        if not self._numbers_segments:
            return 0
        self._last += 1
        return self._last

    def of_part(self, block: Block) -> int:
        """Returns the order of a block that is cut from `block`."""
        if not self._numbers_parts:
            return block.order
        self._last += 1
        return self._last
