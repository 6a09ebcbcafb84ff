"""Reads PyTorch's message that a card has no memory left, in the wordings of all its versions.

In: text, in which the message may stand anywhere. Out: OomMessages. Convention: sizes are printed
with two digits, so each figure is exact to half of the last one. The message is made in
c10/cuda/CUDACachingAllocator.cpp (https://github.com/pytorch/pytorch).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.units import GIB, KIB, MIB, parse_bytes

_SIZE = r"([0-9]+(?:\.[0-9]+)?) (bytes|KiB|MiB|GiB)"
_ASKED = rf"CUDA out of memory\. Tried to allocate {_SIZE}"
# "capacty" is how 2.1 wrote it.
_SINCE_2_1 = re.compile(
    rf"{_ASKED}\. GPU ([0-9]+) has a total capaci?ty of {_SIZE} of which {_SIZE} is free\. "
    rf"(.{{0,4000}}?)Of the allocated memory {_SIZE} is allocated by PyTorch,"
    rf"(?: with {_SIZE} allocated in private pools \([^)]*\),)? "
    rf"and {_SIZE} is reserved by PyTorch but unallocated"
)
# "cached" was the memory that is not allocated, until 1.3; later the whole is "reserved".
_BEFORE_2_1 = re.compile(
    rf"{_ASKED} \(GPU ([0-9]+); {_SIZE} total capacity; {_SIZE} already allocated; {_SIZE} free; "
    rf"(?:{_SIZE} allowed; )?{_SIZE} (cached|reserved in total by PyTorch)"
)
_THIS_PROCESS = re.compile(rf"this process has {_SIZE} memory in use")
_A_PROCESS = re.compile(rf"Process ([0-9]+) has {_SIZE} memory in use")
_ALLOWED = re.compile(rf"{_SIZE} allowed; ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# kMinLargeAlloc, kSmallBuffer, kLargeBuffer and kRoundLarge of the allocator: how much a request
# takes from the driver.
_SMALL_BYTES, _LARGE_BYTES = MIB, 10 * MIB
_SMALL_SEGMENT_BYTES, _SEGMENT_BYTES, _ROUND_BYTES = 2 * MIB, 20 * MIB, 2 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class OomMessage:
    """One message "CUDA out of memory", in bytes. None: its wording does not say it."""

    device: int
    """Number of the card, as the process counts it."""
    requested_bytes: int
    """Size of the tensor that could not be allocated."""
    total_bytes: int
    """Memory of the card, as PyTorch reports it."""
    free_bytes: int
    """Memory that no process has."""
    allocated_bytes: int
    """Memory in tensors of this process."""
    unallocated_bytes: int
    """Memory that PyTorch holds without a tensor in it: cached or split."""
    process_bytes: int | None = None
    """All memory of this process on the card."""
    processes: tuple[tuple[int, int], ...] = ()
    """Id and memory of each other process that the message names."""
    allowed_bytes: int | None = None
    """Limit that torch.cuda.set_per_process_memory_fraction has set."""
    private_pools_bytes: int | None = None
    """Memory of CUDA graphs and other pools of their own, a part of `allocated_bytes`."""

    @property
    def missing_bytes(self) -> int:
        """Returns how much more had to be free for this request; 0 or less: enough was free."""
        return segment_bytes(self.requested_bytes) - self.free_bytes

    @property
    def outside_bytes(self) -> int | None:
        """Returns the memory of this process outside of PyTorch: the context, other libraries."""
        if self.process_bytes is None:
            return None
        return self.process_bytes - self.allocated_bytes - self.unallocated_bytes

    @property
    def others_bytes(self) -> int | None:
        """Returns the memory of other processes, the desktop and the driver."""
        if self.process_bytes is None:
            return None
        return max(0, self.total_bytes - self.free_bytes - self.process_bytes)

    @property
    def error_bytes(self) -> int:
        """Returns by how much a difference of two figures may be off, because they are rounded."""
        return 20 * MIB if self.total_bytes >= GIB else 20 * KIB

    def to_dict(self) -> dict[str, object]:
        """Returns the JSON object."""
        return {
            "device": self.device,
            "requested_bytes": self.requested_bytes,
            "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes,
            "missing_bytes": self.missing_bytes,
            "allocated_bytes": self.allocated_bytes,
            "unallocated_bytes": self.unallocated_bytes,
            "process_bytes": self.process_bytes,
            "outside_bytes": self.outside_bytes,
            "others_bytes": self.others_bytes,
            "processes": [{"pid": pid, "bytes": size} for pid, size in self.processes],
            "allowed_bytes": self.allowed_bytes,
            "private_pools_bytes": self.private_pools_bytes,
        }


def plain(text: str) -> str:
    """Returns the text without colours, on one line: a pasted message is often broken."""
    return " ".join(_COLOUR.sub("", text).split())


def oom_messages(text: str) -> tuple[OomMessage, ...]:
    """Returns the messages in a text of `plain`, each different one once, in their order."""
    found = [(match.start(), _since_2_1(match)) for match in _SINCE_2_1.finditer(text)]
    found += [(match.start(), _before_2_1(match)) for match in _BEFORE_2_1.finditer(text)]
    return tuple(dict.fromkeys(message for _, message in sorted(found, key=lambda one: one[0])))


def segment_bytes(size_bytes: int) -> int:
    """Returns what a request takes from the driver where no cached block holds it."""
    if size_bytes <= _SMALL_BYTES:
        return _SMALL_SEGMENT_BYTES
    if size_bytes < _LARGE_BYTES:
        return _SEGMENT_BYTES
    return -(-size_bytes // _ROUND_BYTES) * _ROUND_BYTES


def _since_2_1(match: re.Match[str]) -> OomMessage:
    words = match.groups()
    between = words[7]
    own = _THIS_PROCESS.search(between)
    allowed = _ALLOWED.search(between)
    return OomMessage(
        requested_bytes=_bytes(words[0:2]),
        device=int(words[2]),
        total_bytes=_bytes(words[3:5]),
        free_bytes=_bytes(words[5:7]),
        allocated_bytes=_bytes(words[8:10]),
        private_pools_bytes=_bytes(words[10:12]) if words[10] else None,
        unallocated_bytes=_bytes(words[12:14]),
        process_bytes=None if own is None else _bytes(own.groups()),
        processes=tuple(
            (int(one[1]), _bytes(one.groups()[1:])) for one in _A_PROCESS.finditer(between)
        ),
        allowed_bytes=None if allowed is None else _bytes(allowed.groups()),
    )


def _before_2_1(match: re.Match[str]) -> OomMessage:
    words = match.groups()
    allocated_bytes, held_bytes = _bytes(words[5:7]), _bytes(words[11:13])
    is_whole = words[13] != "cached"
    return OomMessage(
        requested_bytes=_bytes(words[0:2]),
        device=int(words[2]),
        total_bytes=_bytes(words[3:5]),
        free_bytes=_bytes(words[7:9]),
        allocated_bytes=allocated_bytes,
        unallocated_bytes=max(0, held_bytes - allocated_bytes) if is_whole else held_bytes,
        allowed_bytes=_bytes(words[9:11]) if words[9] else None,
    )


def _bytes(words: tuple[str, ...]) -> int:
    number, unit = words
    return parse_bytes(f"{number}{'' if unit == 'bytes' else unit}")
