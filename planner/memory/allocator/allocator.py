"""Replays PyTorch's CUDA caching allocator without torch: the same bytes for the same requests.

In: AllocatorSettings, a card's capacity, and requests. Out: blocks, and the figures that
torch.cuda.memory_stats() would show. Convention: the rules are those of torch's
c10/cuda/CUDACachingAllocator.cpp; where memory is short the result is None, not an exception.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from planner.errors import UsageError
from planner.memory.allocator.blocks import Block, FreeBlocks, Numbering
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES, DeviceMemory
from planner.memory.allocator.expandable import ExpandableSegments, best_to_grow
from planner.memory.allocator.garbage_collection import GarbageCollector
from planner.memory.allocator.settings import (
    MIN_BLOCK_BYTES,
    SMALL_REQUEST_BYTES,
    AllocatorSettings,
    Backend,
)


class PendingFree:
    """A block that the program freed while another stream used it."""

    __slots__ = ("block",)

    def __init__(self, block: Block) -> None:
        self.block = block


class CachingAllocator:
    """The allocator of one card. `reserved_bytes` are those that it holds of `capacity_bytes`.

    `total_memory_bytes` is the card's memory as torch shows it (None: the capacity); shares of the
    card and address ranges are computed from it.

    Raises:
        UsageError: the settings choose a backend that is not PyTorch's own.
    """

    def __init__(
        self,
        settings: AllocatorSettings,
        *,
        capacity_bytes: int,
        total_memory_bytes: int | None = None,
    ) -> None:
        if settings.backend is not Backend.NATIVE:
            raise UsageError(
                f"backend:{settings.backend.value} leaves memory to the driver's pools, "
                "which cannot be replayed; take backend:native"
            )
        total = capacity_bytes if total_memory_bytes is None else total_memory_bytes
        self.settings = settings
        self.allocated_bytes = self.active_bytes = self.reserved_bytes = 0
        self.peak_allocated_bytes = self.peak_active_bytes = self.peak_reserved_bytes = 0
        self.alloc_retries = 0
        self._device = DeviceMemory(capacity_bytes)
        self._numbering = Numbering(settings.tie_break)
        self._expandable = (
            ExpandableSegments(settings, self._device, self._numbering, total)
            if settings.expandable_segments
            else None
        )
        self._homes: dict[tuple[bool, int], FreeBlocks] = {}
        self._pending: list[PendingFree] = []
        self._allowed_bytes = settings.allowed_bytes(total)
        self._reject_above_bytes = (
            total
            if settings.reject_above_fraction and self._allowed_bytes is None
            else WITHOUT_LIMIT_BYTES
        )
        self._max_split_bytes = settings.max_split_bytes or WITHOUT_LIMIT_BYTES
        self._whole_from_bytes = (  # requests from here on take a block as it is
            WITHOUT_LIMIT_BYTES if settings.expandable_segments else self._max_split_bytes
        )
        self._rounds_up = any(divisions > 1 for divisions in settings.roundup_divisions)
        self._collector = GarbageCollector.of(settings, self._allowed_bytes)
        self._has_search_rules = (
            self._collector is not None
            or self._expandable is not None
            or self._max_split_bytes != WITHOUT_LIMIT_BYTES
        )

    def allocate(self, size_bytes: int, stream: int = 0) -> Block | None:
        """Serves a request of one stream; None where torch would raise OutOfMemoryError."""
        if self._rounds_up:
            size = self.settings.rounded(size_bytes)
        else:
            size = (size_bytes + MIN_BLOCK_BYTES - 1) // MIN_BLOCK_BYTES * MIN_BLOCK_BYTES
            size = size or MIN_BLOCK_BYTES
        small = size <= SMALL_REQUEST_BYTES
        home = self._homes.get((small, stream)) or self._new_home(is_small=small, stream=stream)
        entries = home.entries
        at = bisect_left(entries, (size,))
        if self._has_search_rules:
            at = self._best_fit(home, size, at)
        block = entries.pop(at)[3] if at < len(entries) else self._new_memory(home, size)
        if block is None:
            return None
        if block.size_bytes - size >= home.smallest_rest_bytes and size < self._whole_from_bytes:
            rest, block = block, block.cut(size, self._numbering.of_part(block))
            if self._collector is not None:
                self._collector.stamp(rest)
            insort(entries, (rest.size_bytes, rest.order, rest.address, rest))
        size = block.size_bytes
        block.in_use = True
        self.allocated_bytes += size
        if self.allocated_bytes > self.peak_allocated_bytes:
            self.peak_allocated_bytes = self.allocated_bytes
        self.active_bytes += size
        if self.active_bytes > self.peak_active_bytes:
            self.peak_active_bytes = self.active_bytes
        return block

    def free(self, block: Block) -> None:
        """Takes back a block that no other stream uses."""
        self.allocated_bytes -= block.size_bytes
        self._free(block)

    def request_free(self, block: Block) -> PendingFree:
        """Records that the program freed a block that another stream still uses (record_stream)."""
        self.allocated_bytes -= block.size_bytes
        pending = PendingFree(block)
        self._pending.append(pending)
        return pending

    def complete_free(self, pending: PendingFree) -> None:
        """Frees the block once the other stream is done; does nothing if empty_cache() freed it."""
        if pending in self._pending:
            self._pending.remove(pending)
            self._free(pending.block)

    def empty_cache(self) -> None:
        """Gives memory without a live block back to the card, as torch.cuda.empty_cache()."""
        while self._pending:  # the allocator waits until no other stream uses them
            self._free(self._pending.pop().block)
        for home in self._homes.values():
            if self._expandable is not None:
                self._expandable.unmap(home.blocks)
                self.reserved_bytes = self._expandable.mapped_bytes
            else:
                for block in [block for block in home.blocks if not block.is_split]:
                    self._release(block)

    def reset_peaks(self) -> None:
        """Sets the peaks to the present figures."""
        self.peak_allocated_bytes = self.allocated_bytes
        self.peak_active_bytes = self.active_bytes
        self.peak_reserved_bytes = self.reserved_bytes

    def _new_home(self, *, is_small: bool, stream: int) -> FreeBlocks:
        keeps_small_rests = is_small or self._expandable is not None
        home = FreeBlocks(
            is_small=is_small,
            stream=stream,
            smallest_rest_bytes=MIN_BLOCK_BYTES if keeps_small_rests else SMALL_REQUEST_BYTES + 1,
        )
        self._homes[(is_small, stream)] = home
        return home

    def _best_fit(self, home: FreeBlocks, size: int, at: int) -> int:
        """Returns the index of the block to take, from `at`, the smallest one with room, on.

        len(home.entries): none may be taken.
        """
        if self._collector is not None:
            self._collector.count_search(home)
        none = len(home.entries)
        if at == none:
            return none
        if self._expandable is not None:
            at = best_to_grow(home, at)
        if self._max_split_bytes != WITHOUT_LIMIT_BYTES:
            found = home.entries[at][0]
            if size < self._max_split_bytes <= found:
                return none
            if size >= self._max_split_bytes and (
                found >= size + self.settings.max_non_split_rounding_bytes
            ):
                return none
        return at

    def _new_memory(self, home: FreeBlocks, size: int) -> Block | None:
        """Takes a block of new memory; gives cached memory back where the card has too little."""
        segment = self.settings.segment_bytes(size)
        if self._collector is not None:
            for old in self._collector.collect(self._homes.values(), self.reserved_bytes):
                self._release(old)
        if self.reserved_bytes + segment > self._reject_above_bytes:
            return None
        block = self._grow(home, size, segment)
        if block is None and self._release_oversize(home, size):
            block = self._grow(home, size, segment)
        if block is None:
            self.empty_cache()
            self.alloc_retries += 1
            block = self._grow(home, size, segment)
        return block

    def _grow(self, home: FreeBlocks, size: int, segment: int) -> Block | None:
        if self._allowed_bytes is not None and self.reserved_bytes + segment > self._allowed_bytes:
            return None
        if self._expandable is not None:
            block = self._expandable.grow(home, size)
            self.reserved_bytes = self._expandable.mapped_bytes
        else:
            address = self._device.allocate(segment)
            if address is None:
                return None
            block = Block(home, address, segment, self._numbering.of_segment())
            self.reserved_bytes += segment
        if self.reserved_bytes > self.peak_reserved_bytes:
            self.peak_reserved_bytes = self.reserved_bytes
        return block

    def _free(self, block: Block) -> None:
        self.active_bytes -= block.size_bytes
        block.in_use = False
        block.absorb_neighbours()
        if self._collector is not None:
            self._collector.stamp(block)
        block.home.insert(block)

    def _release(self, block: Block) -> None:
        """Gives a whole free segment back to the card."""
        block.home.remove(block)
        self._device.release(block.address, block.size_bytes)
        self.reserved_bytes -= block.size_bytes

    def _release_oversize(self, home: FreeBlocks, size: int) -> bool:
        """Gives back just enough blocks too large to be split; only with max_split_size_mb."""
        if self._max_split_bytes == WITHOUT_LIMIT_BYTES:
            return False
        wanted = max(size, self._max_split_bytes)
        at = home.first_of(wanted)
        if at < len(home.entries) and self._expandable is None:
            self._release(home.entries[at][3])
            return True
        released = 0
        for block in reversed(home.blocks[:at]):  # the largest first
            if released >= wanted or block.size_bytes < self._max_split_bytes:
                break
            if self._expandable is None:
                released += block.size_bytes
                self._release(block)
        return released >= wanted
