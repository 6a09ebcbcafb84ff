"""Holds the settings of PyTorch's caching allocator, by the rules of one version of torch.

In: the version of torch, and values as options.py reads them. Out: AllocatorSettings, which also
round a request. Convention: the rules are those of c10/cuda/CUDACachingAllocator.cpp and
c10/core/AllocatorConfig.h; where versions of torch differ, these settings decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from planner.errors import UsageError
from planner.units import MIB

MIN_BLOCK_BYTES = 512
SMALL_REQUEST_BYTES = MIB  # up to here a request goes to the small pool
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_REQUEST_BYTES = 10 * MIB  # from here on a request gets a segment of its own size
LARGE_ROUNDING_BYTES = 2 * MIB
DEFAULT_LARGE_SEGMENT_BYTES = 20 * MIB
ROUNDUP_INTERVALS = 16  # powers of two from 1 MiB on, each with its own number of divisions
_FIRST_INTERVAL_BITS = MIB.bit_length()


class TieBreak(str, Enum):
    """The rule that chooses between free blocks of one size and stream."""

    LOWEST_ADDRESS = "lowest-address"  # up to torch 2.11
    OLDEST_BLOCK = "oldest-block"  # torch 2.12: every block has a number, split-off ones too
    OLDEST_SEGMENT = "oldest-segment"  # from torch 2.13 on: segments are numbered, then address


class Backend(str, Enum):
    """The part of torch that serves requests for memory."""

    NATIVE = "native"  # PyTorch's own allocator, the one that is replayed
    CUDA_MALLOC_ASYNC = "cudaMallocAsync"  # the driver's memory pools


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchVersion:
    """Major and minor number: the allocator does not change within a minor version."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> TorchVersion:
        """Reads the version in "2.14.1+cu130".

        Raises:
            UsageError: the text does not begin with two numbers.
        """
        match = re.match(r"(\d+)\.(\d+)", text)
        if match is None:
            raise UsageError(f"{text!r} is not a version of torch like 2.14.1")
        return cls(major=int(match[1]), minor=int(match[2]))

    def at_least(self, major: int, minor: int) -> bool:
        """Returns whether this version is `major`.`minor` or newer."""
        return (self.major, self.minor) >= (major, minor)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorSettings:
    """All settings that decide how requests become segments. Made by `parse_alloc_conf`.

    `max_split_bytes` None: every block may be split. `memory_fraction` is the share of the card
    that the process may reserve (torch.cuda.set_per_process_memory_fraction, or the option); None:
    no limit. `roundup_divisions`: one entry per power of two from 1 MiB on, 0 is off.
    `addresses_fraction` (of the card) or `addresses_bytes` limits the growth of an expandable
    segment; both None: torch's own limit.
    """

    version: TorchVersion
    backend: Backend = Backend.NATIVE
    expandable_segments: bool = False
    addresses_fraction: float | None = None
    addresses_bytes: int | None = None
    large_segment_bytes: int = DEFAULT_LARGE_SEGMENT_BYTES
    max_split_bytes: int | None = None
    max_non_split_rounding_bytes: int = DEFAULT_LARGE_SEGMENT_BYTES
    roundup_divisions: tuple[int, ...] = (0,) * ROUNDUP_INTERVALS
    garbage_collection_threshold: float = 0.0
    memory_fraction: float | None = None
    reject_above_fraction: bool = False

    @property
    def tie_break(self) -> TieBreak:
        """Returns the rule of this version of torch."""
        if self.version.at_least(2, 13):
            return TieBreak.OLDEST_SEGMENT
        if self.version.at_least(2, 12):
            return TieBreak.OLDEST_BLOCK
        return TieBreak.LOWEST_ADDRESS

    def rounded(self, size_bytes: int) -> int:
        """Returns the bytes of the block that serves a request of `size_bytes`."""
        if size_bytes < MIN_BLOCK_BYTES:
            return MIN_BLOCK_BYTES
        bits = size_bytes.bit_length()
        interval = min(max(bits - _FIRST_INTERVAL_BITS, 0), ROUNDUP_INTERVALS - 1)
        divisions = self.roundup_divisions[interval]
        if divisions > 1 and size_bytes > MIN_BLOCK_BYTES * divisions:
            step = (1 << bits - 1) // divisions  # of the power of two below the request
            return -(-size_bytes // step) * step
        return -(-size_bytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES

    def segment_bytes(self, block_bytes: int) -> int:
        """Returns the bytes of the segment made where no free block can serve `block_bytes`."""
        if block_bytes <= SMALL_REQUEST_BYTES:
            return SMALL_SEGMENT_BYTES
        if block_bytes < LARGE_REQUEST_BYTES:
            return self.large_segment_bytes
        return -(-block_bytes // LARGE_ROUNDING_BYTES) * LARGE_ROUNDING_BYTES

    def allowed_bytes(self, total_memory_bytes: int) -> int | None:
        """Returns the bytes that the process may reserve on a card of this size; None: no limit."""
        if self.memory_fraction is None:
            return None
        if self.memory_fraction >= 1 and self.version.at_least(2, 10):
            return None
        return int(self.memory_fraction * total_memory_bytes)

    def segment_addresses_bytes(self, total_memory_bytes: int) -> int:
        """Returns the bytes of addresses, the limit, of an expandable segment on such a card."""
        # 9/8 of the card: room to map memory again elsewhere after it was unmapped.
        most = total_memory_bytes + total_memory_bytes // 8
        if self.addresses_bytes is not None:
            return min(self.addresses_bytes, most)
        if self.addresses_fraction is not None:
            return min(int(self.addresses_fraction * total_memory_bytes), most)
        return most
