"""Models expandable segments: addresses for more than the card, with memory mapped by pages.

In: requests that no free block can serve. Out: blocks, and pages given back. Convention: a page is
the size of a segment of the pool (2 MiB, or 20 MiB for large requests), and is mapped in full or
not at all; a part without memory is a Block with `mapped` False.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from planner.memory.allocator.blocks import Block, FreeBlocks, Numbering
from planner.memory.allocator.device_memory import DeviceMemory, pages
from planner.memory.allocator.settings import SMALL_SEGMENT_BYTES, AllocatorSettings


class ExpandableSegments:
    """The expandable segments of one card; `mapped_bytes` are those that they hold of it.

    `on_change`, if there is one, is called for each range that gets memory (True) or gives it back
    (False), with its pool, address and bytes.
    """

    def __init__(
        self,
        settings: AllocatorSettings,
        device: DeviceMemory,
        numbering: Numbering,
        total_memory_bytes: int,
    ) -> None:
        self.mapped_bytes = 0
        self.on_change: Callable[[bool, FreeBlocks, int, int], None] | None = None
        self._settings = settings
        self._device = device
        self._numbering = numbering
        self._address_bytes = settings.segment_addresses_bytes(total_memory_bytes)

    def grow(self, home: FreeBlocks, size_bytes: int) -> Block | None:
        """Takes a free block of at least `size_bytes` out of `home`; None: the card is full.

        Pages mapped before the card was full stay mapped. None too where no segment may grow that
        far, because a block is in one segment.
        """
        block = self._room(home, size_bytes)
        if block is None:
            return None
        if not block.mapped and not self._map(block, min(block.size_bytes, size_bytes)):
            return None
        while block.size_bytes < size_bytes:
            following = block.next
            assert following is not None, "_room() found too little"
            missing = size_bytes - block.size_bytes
            if not self._map(following, min(missing, following.size_bytes)):
                return None
            block = following
        home.remove(block)
        return block

    def unmap(self, blocks: Iterable[Block]) -> None:
        """Gives back the pages that are wholly inside these free blocks."""
        for block in blocks:
            self._unmap(block)
            if not block.mapped and not block.is_split:
                block.home.remove(block)
                self._device.give_addresses(block.address, pages(block.size_bytes))

    def _room(self, home: FreeBlocks, size_bytes: int) -> Block | None:
        """Returns the first of adjacent free and unmapped blocks with room, by rising address."""
        for block in home.unmapped:
            before = block.previous
            first = before if before is not None and not before.in_use else block
            if _has_room(first, size_bytes):
                return first
        page = self._page_bytes(home)
        total = -(-self._address_bytes // page) * page
        if total < size_bytes:
            return None
        address = self._device.take_addresses(pages(total))
        block = Block(home, address, total, self._numbering.of_segment())
        block.mapped = False
        home.insert(block)
        return block

    def _map(self, block: Block, size_bytes: int) -> bool:
        """Maps memory from the begin of an unmapped block, and joins it to its neighbours."""
        home = block.home
        page = self._page_bytes(home)
        count = -(-size_bytes // page)
        if not self._device.charge(count * pages(page)):
            return False
        home.remove(block)
        mapped = count * page
        if self.on_change is not None:
            self.on_change(True, home, block.address, mapped)
        block.mapped = True
        if mapped < block.size_bytes:
            rest = Block(
                home,
                block.address + mapped,
                block.size_bytes - mapped,
                self._numbering.of_part(block),
            )
            rest.mapped = False
            rest.link_after(block)
            home.insert(rest)
            block.size_bytes = mapped
        block.absorb_neighbours()
        home.insert(block)
        self.mapped_bytes += mapped
        return True

    def _unmap(self, block: Block) -> None:
        home = block.home
        page = self._page_bytes(home)
        offset = block.address - block.segment_begin
        begin = -(-offset // page) * page
        end = (offset + block.size_bytes) // page * page
        if begin >= end:
            return
        home.remove(block)
        if self.on_change is not None:
            self.on_change(False, home, block.segment_begin + begin, end - begin)
        for address, size_bytes, link in (
            (block.address, begin - offset, Block.link_before),
            (block.segment_begin + end, offset + block.size_bytes - end, Block.link_after),
        ):
            if size_bytes:
                part = Block(home, address, size_bytes, self._numbering.of_part(block))
                link(part, block)
                home.insert(part)
        block.address, block.size_bytes = block.segment_begin + begin, end - begin
        block.mapped = False
        block.absorb_neighbours()
        home.insert(block)
        self.mapped_bytes -= end - begin
        self._device.charged_bytes -= (end - begin) // page * pages(page)

    def _page_bytes(self, home: FreeBlocks) -> int:
        return SMALL_SEGMENT_BYTES if home.is_small else self._settings.large_segment_bytes


def _has_room(block: Block | None, size_bytes: int) -> bool:
    while size_bytes > 0 and block is not None and not block.in_use:
        size_bytes -= block.size_bytes
        block = block.next
    return size_bytes <= 0


def best_to_grow(home: FreeBlocks, at: int) -> int:
    """Moves on from index `at` while the next block has less room, its room to grow included."""
    entries = home.entries
    while at + 1 < len(entries) and _reach(entries[at + 1][3]) < _reach(entries[at][3]):
        at += 1
    return at


def _reach(block: Block) -> int:
    following = block.next
    if following is None or following.mapped:
        return block.size_bytes
    return block.size_bytes + following.size_bytes
