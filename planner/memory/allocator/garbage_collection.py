"""Chooses cached segments to give back before the card is full (garbage_collection_threshold).

In: the free blocks and what is reserved. Out: the blocks to release. Convention: the age of a free
block is the number of searches in the large pool since it became free; above the threshold,
blocks of at least average age are released, until enough is released or none is left.
"""

from __future__ import annotations

from collections.abc import Iterable

from planner.memory.allocator.blocks import Block, FreeBlocks
from planner.memory.allocator.settings import AllocatorSettings


class GarbageCollector:
    """Counts searches and chooses the blocks to release."""

    def __init__(self, threshold_bytes: int, *, can_release: bool) -> None:
        self._threshold_bytes = threshold_bytes
        self._can_release = can_release
        self._searches = 0

    @classmethod
    def of(cls, settings: AllocatorSettings, allowed_bytes: int | None) -> GarbageCollector | None:
        """Returns the collector of these settings; torch has none without a memory fraction."""
        if allowed_bytes is None or settings.garbage_collection_threshold <= 0:
            return None
        threshold = int(settings.garbage_collection_threshold * allowed_bytes)
        return cls(threshold, can_release=not settings.expandable_segments)

    def count_search(self, home: FreeBlocks) -> None:
        """Counts a request's search for a free block of the large pool."""
        if not home.is_small:
            self._searches += 1

    def stamp(self, block: Block) -> None:
        """Stamps a block that becomes free, or smaller, with the present age count."""
        block.freed_at = self._searches

    def collect(self, homes: Iterable[FreeBlocks], reserved_bytes: int) -> list[Block]:
        """Returns whole free segments of the large pool to give back, in no particular order."""
        target = reserved_bytes - self._threshold_bytes
        if target <= 0 or not self._can_release:
            return []
        waiting = [
            block
            for home in homes
            if not home.is_small
            for block in home.blocks
            if not block.is_split
        ]
        chosen: list[Block] = []
        reclaimed = 0
        while waiting and reclaimed < target:
            average = sum(self._age(block) for block in waiting) / len(waiting)
            old = [block for block in waiting if self._age(block) >= average]
            if not old:
                break
            chosen += old
            reclaimed += sum(block.size_bytes for block in old)
            waiting = [block for block in waiting if self._age(block) < average]
        return chosen

    def _age(self, block: Block) -> int:
        return self._searches - block.freed_at
