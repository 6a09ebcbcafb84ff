"""The bytes that the allocator takes for a request.

In: a request. Out: bytes, rounded up as the allocator does where they are not known.
"""

from __future__ import annotations

from planner.wire.trace import AllocationEvent

_ROUNDING_BYTES = 512  # kMinBlockSize, c10/core/CachingDeviceAllocator.h


def block_bytes_of(event: AllocationEvent) -> int:
    """Returns the bytes that the allocator took for a request, or those that it takes at least."""
    return event.block_bytes or rounded(event.size_bytes)


def rounded(size_bytes: int) -> int:
    """Returns a size, rounded up as the allocator does."""
    return -(-size_bytes // _ROUNDING_BYTES) * _ROUNDING_BYTES
