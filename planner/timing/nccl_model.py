"""NCCL's own model of a collective: the latency and the rate of each algorithm and protocol.

In: a size, a group and the rates of its links. Out: seconds of each algorithm; NCCL takes the
fastest, and so does `fastest`. Source of all constants without another one: NCCL 2.30.7,
https://github.com/NVIDIA/nccl/blob/master/src/graph/tuning.cc
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import log2

from planner.hardware.link_specs import Collective, HopLatency, LinkKind, LinkSpec
from planner.timing.measured_collectives import ring_share
from planner.timing.topology import RankGroup

_MICRO = 1e-6


class Algorithm(str, Enum):
    """How a time was found: NCCL's algorithm, or no model at all."""

    MEASURED = "measured"  # interpolated between measured times
    RING = "ring"  # each card passes parts to the next one
    TREE = "tree"  # sums go up two trees and come down again
    IN_SWITCH = "in_switch"  # NVLS: the NVLink switches sum; between hosts NVLSTree
    DIRECT = "direct"  # each card sends to each other one
    NONE = "none"  # a group of one card does not communicate


class Protocol(str, Enum):
    """How a chunk is handed over; the fast ones reach less of the bandwidth."""

    LL = "ll"  # flag with each 4 bytes
    LL128 = "ll128"  # flag with each 120 bytes; NVLink between the cards of a host only
    SIMPLE = "simple"  # whole chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One algorithm for one collective: its time is latency_s + size / rate."""

    algorithm: Algorithm
    protocol: Protocol
    latency_s: float
    bytes_per_s: float
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The links of a group with the rates that are its own.

    `intra_bytes_per_s` is the ring's bus bandwidth inside a host, `in_switch_bytes_per_s` that of
    sums in the switches; None: these do not sum. `network_bytes_per_s` is the group's share of a
    host's adapters as they are reached; None: the group is on one host.
    """

    intra: LinkSpec
    inter: LinkSpec | None
    intra_bytes_per_s: float
    in_switch_bytes_per_s: float | None
    network_bytes_per_s: float | None

    @property
    def ring_bytes_per_s(self) -> float:
        """Returns the bus bandwidth of a ring: the slower of its two links."""
        if self.network_bytes_per_s is None:
            return self.intra_bytes_per_s
        return min(self.intra_bytes_per_s, self.network_bytes_per_s)


# Before the first hop; by algorithm and protocol.
_BASE_S = {
    (Algorithm.RING, Protocol.LL): 6.6 * _MICRO,
    (Algorithm.RING, Protocol.LL128): 14.0 * _MICRO,
    (Algorithm.RING, Protocol.SIMPLE): 8.4 * _MICRO,
    (Algorithm.TREE, Protocol.LL): 6.8 * _MICRO,
    (Algorithm.TREE, Protocol.LL128): 14.0 * _MICRO,
    (Algorithm.TREE, Protocol.SIMPLE): 8.4 * _MICRO,
}
_IN_SWITCH_S = 25 * _MICRO
_IN_SWITCH_NETWORK_HOP_S = 20.9 * _MICRO
_NETWORK_POST_S = {Protocol.LL: 1e-6, Protocol.LL128: 1e-6, Protocol.SIMPLE: 3e-6}  # Intel hosts
# LL: the table has 39, 87.7, 141 and 282 GB/s where the ring has 120, 240, 360 and 722.
_RING_PART = {Protocol.LL: 0.37, Protocol.LL128: 0.92, Protocol.SIMPLE: 1.0}
_TREE_PART = {Protocol.LL: 1 / 3.8, Protocol.LL128: 7 / 9, Protocol.SIMPLE: 1.0}
_TREE_PART_BETWEEN_HOSTS = {Protocol.LL: 1 / 3.8, Protocol.LL128: 120 / 128, Protocol.SIMPLE: 0.85}
_TREE_OF_RING = 0.92
# 310 where the ring reaches 365 GB/s, four hosts of 8 H200
# (https://github.com/stas00/ml-engineering/blob/master/network/README.md)
_IN_SWITCH_TREE_PART = 0.85
# Trees at sizes from 64 bytes on, each twice the one before.
_TREE_CORRECTION = {
    Protocol.LL: (1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9),
    Protocol.LL128: (1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9),
    Protocol.SIMPLE: (.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5, .5, .5, .5, .6, .7, .8, .7,
                      .7, .8, .9, .9, .9),
}  # fmt: skip
_LEAST_TREE_BYTES = 64


def fastest(collective: Collective, size_bytes: int, group: RankGroup, paths: Paths) -> Way:
    """Returns the way that NCCL's model finds fastest for a group of at least two cards."""
    if collective in (Collective.ALL_TO_ALL, Collective.SEND_RECV):
        return _direct(collective, size_bytes, group, paths)
    ways = [*_rings(collective, size_bytes, group, paths)]
    if collective is Collective.ALL_REDUCE:
        ways += [*_trees(size_bytes, group, paths), *_in_switch(size_bytes, group, paths)]
    return min(ways, key=lambda way: way.time_s)


def _protocols(paths: Paths) -> tuple[Protocol, ...]:
    if paths.intra.kind is LinkKind.PCIE:
        return (Protocol.LL, Protocol.SIMPLE)
    return tuple(Protocol)


def _rings(
    collective: Collective, size_bytes: int, group: RankGroup, paths: Paths
) -> Iterator[Way]:
    factor = collective.traffic_factor(group.cards)
    for protocol in _protocols(paths):
        rate = paths.ring_bytes_per_s * _RING_PART[protocol] / factor
        latency = _BASE_S[Algorithm.RING, protocol]
        latency += _ring_hops_s(collective, group, paths, protocol)
        yield _way(Algorithm.RING, protocol, latency, rate, size_bytes)


def _ring_hops_s(
    collective: Collective, group: RankGroup, paths: Paths, protocol: Protocol
) -> float:
    if collective is Collective.BROADCAST:
        link = paths.intra if paths.inter is None else paths.inter
        hop = link.tree_hop if protocol is Protocol.SIMPLE else link.ring_hop
        return group.cards * _of(hop, protocol)
    rounds = 2 if collective is Collective.ALL_REDUCE else 1
    steps, network_steps = rounds * (group.cards - 1), rounds * (group.hosts - 1)
    hop_s, network_hop_s = _of(paths.intra.ring_hop, protocol), 0.0
    if paths.inter is not None:
        hop_s = max(hop_s, _NETWORK_POST_S[protocol])
        exposed = group.most_on_a_host == 1
        network_hop_s = _of(paths.inter.tree_hop if exposed else paths.inter.ring_hop, protocol)
    return (steps - network_steps) * hop_s + network_steps * network_hop_s


def _trees(size_bytes: int, group: RankGroup, paths: Paths) -> Iterator[Way]:
    """Yields the trees of an all-reduce.

    A host in the middle of a tree takes its data from two others, so that a byte of the size costs
    two on its adapters. With two hosts it could cost one, but NCCL's tuner does not count on it.
    """
    for protocol in _protocols(paths):
        part = _TREE_PART if paths.inter is None else _TREE_PART_BETWEEN_HOSTS
        rate = paths.intra_bytes_per_s / 2
        latency = _BASE_S[Algorithm.TREE, protocol]
        latency += 2 * (group.most_on_a_host - 1) * _of(paths.intra.tree_hop, protocol)
        if paths.inter is not None and paths.network_bytes_per_s is not None:
            rate = min(rate, paths.network_bytes_per_s / 2)
            latency += 2 * log2(group.hosts) * _of(paths.inter.tree_hop, protocol)
        rate *= _TREE_OF_RING * part[protocol] * _correction(protocol, size_bytes)
        yield _way(Algorithm.TREE, protocol, latency, rate, size_bytes)


def _correction(protocol: Protocol, size_bytes: int) -> float:
    steps = _TREE_CORRECTION[protocol]
    position = int(log2(size_bytes / _LEAST_TREE_BYTES)) if size_bytes > _LEAST_TREE_BYTES else 0
    return steps[position] if position < len(steps) else 1.0


def _in_switch(size_bytes: int, group: RankGroup, paths: Paths) -> Iterator[Way]:
    least = paths.intra.least_cards_in_switch
    if paths.in_switch_bytes_per_s is None or least is None or group.least_on_a_host < least:
        return
    rate, latency = paths.in_switch_bytes_per_s, _IN_SWITCH_S
    factor = Collective.ALL_REDUCE.traffic_factor(group.cards)
    if paths.network_bytes_per_s is not None:
        on_wire = 1 if group.hosts == 2 else 2
        network = paths.network_bytes_per_s / on_wire * factor * _IN_SWITCH_TREE_PART
        rate = min(rate, network)
        latency += 2 * log2(group.hosts) * _IN_SWITCH_NETWORK_HOP_S
    yield _way(Algorithm.IN_SWITCH, Protocol.SIMPLE, latency, rate / factor, size_bytes)


def _direct(collective: Collective, size_bytes: int, group: RankGroup, paths: Paths) -> Way:
    """Returns the time of messages between pairs, which NCCL has no model of.

    Assumed: a ring's base, one hop for each peer of the host, a network hop and the time of a post
    for each peer elsewhere; messages inside a host and over the network at the same time.
    """
    here = group.most_on_a_host
    local_part, network_part = (here - 1) / group.cards, (group.cards - here) / group.cards
    if collective is Collective.SEND_RECV:
        local_part, network_part = (0.0, 1.0) if group.hosts > 1 else (1.0, 0.0)
    latency = _BASE_S[Algorithm.RING, Protocol.LL] + (here - 1) * paths.intra.ring_hop.ll_s
    seconds_per_byte = local_part / paths.intra_bytes_per_s
    if paths.inter is not None and paths.network_bytes_per_s is not None:
        latency += paths.inter.ring_hop.simple_s
        latency += (group.cards - here) * _NETWORK_POST_S[Protocol.LL]
        of_a_card = paths.network_bytes_per_s / here
        seconds_per_byte = max(seconds_per_byte, network_part / of_a_card)
    return _way(Algorithm.DIRECT, Protocol.SIMPLE, latency, 1 / seconds_per_byte, size_bytes)


def _way(
    algorithm: Algorithm, protocol: Protocol, latency_s: float, bytes_per_s: float, size_bytes: int
) -> Way:
    return Way(
        algorithm=algorithm,
        protocol=protocol,
        latency_s=latency_s,
        bytes_per_s=bytes_per_s,
        time_s=latency_s + size_bytes / bytes_per_s,
    )


def _of(hop: HopLatency, protocol: Protocol) -> float:
    return {
        Protocol.LL: hop.ll_s,
        Protocol.LL128: hop.ll128_s,
        Protocol.SIMPLE: hop.simple_s,
    }[protocol]


def ring_rate(link: LinkSpec, cards: int) -> float:
    """Returns the bus bandwidth of a ring over cards of one host, in bytes per second."""
    return ring_share(link, cards) * link.wire_bytes_per_s
