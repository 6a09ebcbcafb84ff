"""The card below the allocator: how much is left, and which addresses a segment gets.

In: a capacity. Out: DeviceMemory, and addresses. Convention: memory is charged in whole pages of
2 MiB, and new addresses are below those handed out before, as the driver places them. The first
segment ends at 0, and there is always room below the last one: only memory can run out.
"""

from __future__ import annotations

from bisect import bisect_left

from planner.units import MIB

PAGE_BYTES = 2 * MIB
# The capacity of a card that is never full: torch counts a size in 63 bits, and no step has 2^37
# requests.
WITHOUT_LIMIT_BYTES = 1 << 100


class DeviceMemory:
    """What a card of `capacity_bytes` has given away."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.charged_bytes = 0
        self._lowest = 0  # below it nothing was handed out
        # Free stretches above it, by address: where each begins, and its bytes.
        self._begins: list[int] = []
        self._sizes: list[int] = []

    def allocate(self, size_bytes: int) -> int | None:
        """Address of a new segment; None when the card is full."""
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
        """Takes memory without addresses, in full or not at all."""
        if self.charged_bytes + size_bytes > self.capacity_bytes:
            return False
        self.charged_bytes += size_bytes
        return True

    def take_addresses(self, size_bytes: int) -> int:
        """The high end of the highest free stretch that is large enough, else new addresses."""
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
        """Frees a stretch; it joins its free neighbours."""
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
    """`size_bytes` in whole pages."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
