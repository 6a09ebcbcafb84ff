"""NCCL's own memory on a card: buffers of communicators, outside of PyTorch's allocator.

In: the communicators of a process, with their size, links and traffic. Out: bytes with a low and a
high bound, and their parts. Convention: low is what rings and pairs need by NCCL's source, high has
all algorithms connected and the fixed part of each communicator, which was only seen from outside.

NCCL connects to each neighbour for each channel, at the first communication that needs it. A card
has for each connection a buffer that it receives into (LL, LL128 and Simple) and a small one that
it sends from, both rounded up to 2 MiB: 10 and 2 MiB, as counted in
https://github.com/NVIDIA/nccl/issues/1685 and computed in src/init.cc (computeBuffSizes) and
src/transport/p2p.cc (p2pSendSetup, p2pRecvSetup) of NCCL 2.30.7. Where NVLink is read from the
other card (Ampere), Simple is with the sender: 6 and 6 MiB, the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import UsageError
from planner.hardware.link_specs import Channels, LinkKind, LinkSpec
from planner.units import MIB

SOURCE = (
    "buffers of NCCL 2.30.7 by its source (src/init.cc, src/transport/p2p.cc, nvls.cc), counted in "
    "nccl#1685; fixed part from nccl#964"
)

# 8 lines x 512 threads x 8 steps x 16 bytes; 120 elements x 640 threads x 8 steps x 8 bytes; 4 MiB.
_LL_BYTES, _LL128_BYTES, _SIMPLE_BYTES = 8 * 512 * 8 * 16, 120 * 640 * 8 * 8, 4 * MIB
_GRANULE_BYTES = 2 * MIB  # CUDA_IPC_MIN
_HEADER_BYTES = 4096  # ncclSendMem and ncclRecvMem
_IN_SWITCH_CHUNK_BYTES = 128 * 1024  # NCCL_NVLS_CHUNKSIZE
_STEPS = 8  # slots of a buffer
# 4 A100: 544 MiB for a group of 2, 688 for a larger one; 144 of them are 12 channels to one more
# neighbour, so 400 are left without a neighbour (https://github.com/NVIDIA/nccl/issues/964).
_FIXED_MOST_BYTES = 400 * MIB
_TREE_NETWORK_PEERS = 3  # one parent, two children
_UNKNOWN = {
    LinkKind.NVSWITCH: Channels(collective=24, point_to_point=32, in_switch=0),
    LinkKind.NVLINK: Channels(collective=24, point_to_point=32, in_switch=0),
    LinkKind.PCIE: Channels(collective=4, point_to_point=2, in_switch=0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Communicator:
    """One communicator of a process (one process group of PyTorch).

    `cards_by_host` holds how many of its ranks are on each host. `collectives`: it runs
    all-reduce, all-gather, reduce-scatter or broadcast. `peers` is how many other ranks it sends to
    or receives from, one by one (pipeline: 1 or 2; all-to-all: all others). `in_switch`: NCCL may
    sum in the NVLink switches (NCCL_NVLS_ENABLE is not 0). `shares_resources`: it was split from
    another one with splitShare, whose buffers it uses.
    """

    name: str
    cards_by_host: tuple[int, ...]
    link: LinkSpec
    collectives: bool = True
    peers: int = 0
    in_switch: bool = True
    shares_resources: bool = False

    @property
    def cards(self) -> int:
        """Returns the number of ranks."""
        return sum(self.cards_by_host)

    @property
    def hosts(self) -> int:
        """Returns the number of hosts with at least one of the ranks."""
        return len(self.cards_by_host)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicatorPart:
    """One part of the memory, in bytes: connections of rings and trees, of pairs, and so on."""

    communicator: str
    what: str
    low_bytes: int
    high_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicatorMemory:
    """NCCL's memory on one card: bounds, parts, their source and what was assumed.

    Both bounds are of device memory that PyTorch's allocator does not count.
    """

    low_bytes: int
    high_bytes: int
    parts: tuple[CommunicatorPart, ...]
    source: str
    assumptions: tuple[str, ...]


def communicator_memory(communicators: Sequence[Communicator]) -> CommunicatorMemory:
    """Returns NCCL's memory on the card that has the most of it.

    A communicator of one card, or without traffic, has only its fixed part.

    Raises:
        UsageError: a communicator without ranks, or with more peers than other ranks.
    """
    parts: list[CommunicatorPart] = []
    assumptions: list[str] = []
    for one in communicators:
        _check(one)
        parts += _parts(one)
        assumptions += [
            f"{one.name}: {_channels(one).collective} channels, as links of this kind have"
            for _ in range(one.link.channels is None)
        ]
        if one.shares_resources:
            assumptions.append(
                f"{one.name}: uses the buffers of the communicator it was split from"
            )
    return CommunicatorMemory(
        low_bytes=sum(part.low_bytes for part in parts),
        high_bytes=sum(part.high_bytes for part in parts),
        parts=tuple(parts),
        source=SOURCE,
        assumptions=tuple(dict.fromkeys(assumptions)),
    )


def _check(one: Communicator) -> None:
    if not one.cards_by_host or min(one.cards_by_host) < 1:
        raise UsageError(f"the communicator {one.name} has no rank on one of its hosts")
    if not 0 <= one.peers < one.cards:
        raise UsageError(
            f"the communicator {one.name} has {one.cards - 1} other ranks, not {one.peers} peers"
        )


def _parts(one: Communicator) -> list[CommunicatorPart]:
    if one.shares_resources:
        return []
    parts = [_part(one, "fixed", 0, _FIXED_MOST_BYTES)]
    local, channels = max(one.cards_by_host), _channels(one)
    if one.collectives and local > 1:
        # the next card of the ring; in trees also the one before it, another one from 3 cards on
        ring = channels.collective * connection_bytes()
        parts.append(
            _part(one, "rings and trees in the host", ring, ring if one.cards == 2 else 2 * ring)
        )
        if one.in_switch and channels.in_switch and one.link.in_switch_share is not None:
            size = _in_switch_bytes(channels.in_switch, local)
            parts.append(_part(one, "sums in the switches", 0, size))
    if one.collectives and one.hosts > 1:
        parts.append(_network_part(one, channels, local))
    if one.peers:
        parts.append(_pairs_part(one, channels, local))
    return parts


def _pairs_part(one: Communicator, channels: Channels, local: int) -> CommunicatorPart:
    """Returns the buffers of send and receive; those over the network are shared, one for all."""
    local_peers = min(one.peers, local - 1)
    in_host = local_peers * channels.point_to_point * connection_bytes()
    network = 2 * receive_bytes() if one.peers > local_peers or one.hosts > 1 else 0
    low = in_host if one.hosts == 1 else 0  # the peers may all be elsewhere
    return _part(one, "send and receive", low, in_host + network)


def _network_part(one: Communicator, channels: Channels, local: int) -> CommunicatorPart:
    """Returns the buffers of rings and trees to other hosts.

    Each ring leaves and enters a host by one of its cards. Low: the channels are divided evenly.
    High: two cards of a host have all of them, and each is in the middle of a tree.
    """
    of_ring = 2 * receive_bytes()  # sent from and received into a buffer of the card
    low = -(-channels.collective // local) * of_ring
    most_here = -(-channels.collective // min(local, 2))
    high = most_here * (of_ring + 2 * _TREE_NETWORK_PEERS * receive_bytes())
    return _part(one, "rings and trees to other hosts", low, high)


def _in_switch_bytes(channels: int, local: int) -> int:
    return channels * 2 * _IN_SWITCH_CHUNK_BYTES * _STEPS * local


def _part(one: Communicator, what: str, low_bytes: int, high_bytes: int) -> CommunicatorPart:
    return CommunicatorPart(
        communicator=one.name, what=what, low_bytes=low_bytes, high_bytes=high_bytes
    )


def _channels(one: Communicator) -> Channels:
    return one.link.channels or _UNKNOWN[one.link.kind]


def receive_bytes() -> int:
    """Returns the bytes of the buffer that a card receives into, for one channel and neighbour."""
    return _rounded(_HEADER_BYTES + _LL_BYTES + _LL128_BYTES + _SIMPLE_BYTES)


def connection_bytes() -> int:
    """Returns the bytes of a card for one channel and one neighbour, both directions."""
    return receive_bytes() + _rounded(_HEADER_BYTES)


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // _GRANULE_BYTES) * _GRANULE_BYTES
