"""Links blocks of device memory; keeps a pool's free blocks of one stream in order of best fit.

In: addresses and sizes. Out: Block, FreeBlocks, Numbering. Convention: a block knows its neighbours
in the segment; `in_use` and unmapped blocks are never in FreeBlocks.
"""

from __future__ import annotations

from bisect import bisect_left

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
        before, after = self.previous, self.next
        if before is not None and not before.in_use and before.mapped is self.mapped:
            before.home.remove(before)
            self.address = before.address
            self.size_bytes += before.size_bytes
            self.previous = before.previous
            if self.previous is not None:
                self.previous.next = self
        if after is not None and not after.in_use and after.mapped is self.mapped:
            after.home.remove(after)
            self.size_bytes += after.size_bytes
            self.next = after.next
            if self.next is not None:
                self.next.previous = self


class FreeBlocks:
    """Free blocks of one pool (small or large) and one stream, smallest first.

    `unmapped` holds, by address, the parts of expandable segments that have no memory.
    """

    __slots__ = ("blocks", "is_small", "keys", "stream", "unmapped")

    def __init__(self, *, is_small: bool, stream: int) -> None:
        self.is_small = is_small
        self.stream = stream
        # Two parallel lists: keys are found by bisection, and blocks are never compared.
        self.keys: list[tuple[int, int, int]] = []
        self.blocks: list[Block] = []
        self.unmapped: list[Block] = []

    def insert(self, block: Block) -> None:
        """Files a free block under its size."""
        if not block.mapped:
            self.unmapped.insert(self._unmapped_index(block.address), block)
            return
        key = (block.size_bytes, block.order, block.address)
        at = bisect_left(self.keys, key)
        self.keys.insert(at, key)
        self.blocks.insert(at, block)

    def remove(self, block: Block) -> None:
        """Takes out a block that has not changed since it was inserted."""
        if not block.mapped:
            del self.unmapped[self._unmapped_index(block.address)]
            return
        at = bisect_left(self.keys, (block.size_bytes, block.order, block.address))
        del self.keys[at], self.blocks[at]

    def first_of(self, size_bytes: int) -> int:
        """Returns the index of the best fit for `size_bytes`; len(blocks): none is large enough."""
        return bisect_left(self.keys, (size_bytes,))

    def take(self, at: int) -> Block:
        """Takes out the block at this index."""
        del self.keys[at]
        return self.blocks.pop(at)

    def _unmapped_index(self, address: int) -> int:
        return bisect_left([block.address for block in self.unmapped], address)


class Numbering:
    """Gives blocks the `order` by which the version of torch breaks ties."""

    def __init__(self, tie_break: TieBreak) -> None:
        self._tie_break = tie_break
        self._last = 0

    def of_segment(self) -> int:
        """Returns the order of the first block of a new segment."""
        if self._tie_break is TieBreak.LOWEST_ADDRESS:
            return 0
        self._last += 1
        return self._last

    def of_part(self, block: Block) -> int:
        """Returns the order of a block that is cut from `block`."""
        if self._tie_break is not TieBreak.OLDEST_BLOCK:
            return block.order
        self._last += 1
        return self._last
