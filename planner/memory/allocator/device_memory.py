"""Models the card below the allocator: the memory that is left, and the addresses of segments.

In: a capacity. Out: DeviceMemory, and addresses. Convention: memory is charged in whole pages of
2 MiB, and new addresses are below all earlier ones, as the driver places them. The first segment
ends at 0, and there is always room below the last one: only memory can run out.
"""

from __future__ import annotations

from bisect import bisect_left

from planner.units import MIB

PAGE_BYTES = 2 * MIB
# The capacity of a card that is never full: torch counts a size in 63 bits, and no step has 2^37
# requests.
WITHOUT_LIMIT_BYTES = 1 << 100


class DeviceMemory:
    """The memory and addresses in use on a card of `capacity_bytes`."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.charged_bytes = 0
        self._lowest = 0  # all addresses below are unused
        # Free ranges above it, by address: the begin of each, and its bytes.
        self._begins: list[int] = []
        self._sizes: list[int] = []

    def allocate(self, size_bytes: int) -> int | None:
        """Returns the address of a new segment; None when the card is full."""
        size_bytes = pages(size_bytes)
        if not self.charge(size_bytes):
            return None
        return self.take_addresses(size_bytes)

    def release(self, address: int, size_bytes: int) -> None:
        """Takes a segment back."""
        size_bytes = pages(size_bytes)
        self.charged_bytes -= size_bytes
        self.give_addresses(address, size_bytes)

    def charge(self, size_bytes: int) -> bool:
        """Takes memory without addresses, in full or not at all; returns whether it did."""
        if self.charged_bytes + size_bytes > self.capacity_bytes:
            return False
        self.charged_bytes += size_bytes
        return True

    def take_addresses(self, size_bytes: int) -> int:
        """Takes the high end of the highest free range that is large enough, else new addresses."""
        at = len(self._sizes) - 1
        while at >= 0 and self._sizes[at] < size_bytes:
            at -= 1
        if at < 0:
            self._lowest -= size_bytes
            return self._lowest
        self._sizes[at] -= size_bytes
        address = self._begins[at] + self._sizes[at]
        if not self._sizes[at]:
            del self._begins[at], self._sizes[at]
        return address

    def give_addresses(self, begin: int, size_bytes: int) -> None:
        """Frees a range of addresses; it joins its free neighbours."""
        at = bisect_left(self._begins, begin)
        if at < len(self._begins) and begin + size_bytes == self._begins[at]:
            size_bytes += self._sizes[at]
            del self._begins[at], self._sizes[at]
        if begin == self._lowest:
            self._lowest += size_bytes
        elif at and self._begins[at - 1] + self._sizes[at - 1] == begin:
            self._sizes[at - 1] += size_bytes
        else:
            self._begins.insert(at, begin)
            self._sizes.insert(at, size_bytes)


def pages(size_bytes: int) -> int:
    """Rounds `size_bytes` up to whole pages."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
