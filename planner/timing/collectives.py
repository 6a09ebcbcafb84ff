"""How long a collective takes: all-reduce, all-gather, all-to-all and the others.

In: the collective, its size, the group of ranks and the topology. Out: CollectiveTime, with the
algorithm and what was assumed. Convention: sizes are those of nccl-tests, see Collective; the time
is that of the collective alone, without what the processor needs to start it.

Inside a host, measured times are interpolated where the link has them. Otherwise, and between
hosts, the time is NCCL's own: latency + bytes x factor / bus bandwidth, by the fastest algorithm.
Between hosts the bus bandwidth is at most the sum of a host's adapters.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.errors import UsageError
from planner.hardware.link_specs import Collective, LinkKind, LinkSpec
from planner.hardware.specs import Confidence
from planner.timing.measured_collectives import measured_time_s, ring_share
from planner.timing.nccl_model import Algorithm, Paths, fastest, ring_rate
from planner.timing.topology import RankGroup, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveTime:
    """The time of one collective.

    `latency_s` is the part that no byte changes; None: not known apart (measured). `bus_bandwidth`
    is bytes x factor / time in bytes per second; 0 for a group of one card. `source` says where the
    figures come from; `confidence` is the least of the links that count.
    """

    time_s: float
    latency_s: float | None
    bus_bytes_per_s: float
    algorithm: Algorithm
    source: str
    confidence: Confidence
    assumptions: tuple[str, ...]


_NO_NETWORK = "the ranks are on {hosts} hosts, and the topology has no link between hosts"
# 2 x 1, 2 x 2 and 2 x 4 cards: 0.27, 0.13 and 0.067 s (https://github.com/NVIDIA/nccl/issues/1250)
_SHARED = "each card of the group has its part of the host's adapters, also where others are idle"
_SMALL_EFA = (
    "over EFA below 512 MiB: NCCL's model does not have the choices of AWS's tuner; in the one "
    "published table such messages took up to 4 times as long, from 64 MiB on up to 1.6 times"
)
_SMALL = "between hosts below 512 MiB: the one published table differs by up to 45 % either way"
_UNMEASURED = "no measured time of {cards} cards over {link}"
_SMALL_BYTES = 512 << 20
_TRUST = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)


def collective_time(
    collective: Collective,
    size_bytes: int,
    group: RankGroup,
    topology: Topology,
) -> CollectiveTime:
    """Returns the time of a collective over a group of ranks.

    A group that has only some cards of each host has their part of the host's adapters. In a
    send_recv of more than two cards each one sends to the next, and the slowest of these counts.

    Raises:
        UsageError: a size below 1, more cards on a host than the topology or its link has, or
            several hosts that no link joins.
    """
    intra = _checked(collective, size_bytes, group, topology)
    if collective is Collective.SEND_RECV and group.cards > 2:
        group = RankGroup(cards_by_host=(2,) if group.hosts == 1 else (1, 1))
    if group.cards == 1:
        return _nothing()
    if group.hosts == 1:
        time_s = measured_time_s(collective, size_bytes, group.cards, intra)
        if time_s is not None:
            return _measured(collective, size_bytes, group, intra, time_s, topology.assumptions)
    paths = _paths(group, topology, intra)
    way = fastest(collective, size_bytes, group, paths)
    used = [link for link in (intra if group.most_on_a_host > 1 else None, paths.inter) if link]
    return CollectiveTime(
        time_s=way.time_s,
        latency_s=way.latency_s,
        bus_bytes_per_s=size_bytes * collective.traffic_factor(group.cards) / way.time_s,
        algorithm=way.algorithm,
        source=f"NCCL's model of {way.algorithm.value} ({way.protocol.value}) over "
        + " and ".join(link.name for link in used),
        confidence=min(
            (*(link.confidence for link in used), _trust(size_bytes, group)), key=_TRUST.index
        ),
        assumptions=(*topology.assumptions, *_notes(size_bytes, group, topology, intra)),
    )


def _notes(size_bytes: int, group: RankGroup, topology: Topology, intra: LinkSpec) -> list[str]:
    """Returns what is assumed of a time from NCCL's model, in words."""
    if group.hosts == 1:
        return [_UNMEASURED.format(cards=group.cards, link=intra.name)]
    notes = []
    if size_bytes < _SMALL_BYTES and topology.inter is not None:
        notes.append(_SMALL_EFA if topology.inter.kind is LinkKind.EFA else _SMALL)
    if group.most_on_a_host < topology.cards_per_host:
        notes.append(_SHARED)
    return notes


def _trust(size_bytes: int, group: RankGroup) -> Confidence:
    """Returns the most that a time from NCCL's model deserves."""
    small = group.hosts > 1 and size_bytes < _SMALL_BYTES
    return Confidence.LOW if small else Confidence.MEDIUM


def _checked(
    collective: Collective, size_bytes: int, group: RankGroup, topology: Topology
) -> LinkSpec:
    """Returns the link inside a host for the group, after all checks."""
    if size_bytes < 1:
        raise UsageError(f"a {collective.value} of {size_bytes} bytes is none; give at least 1")
    if min(group.cards_by_host, default=0) < 1:
        raise UsageError("a group has at least one rank on each of its hosts")
    if group.hosts > topology.hosts or group.most_on_a_host > topology.cards_per_host:
        raise UsageError(
            f"{group.most_on_a_host} ranks on each of {group.hosts} hosts do not fit "
            f"{topology.hosts} hosts of {topology.cards_per_host} cards"
        )
    if group.hosts > 1 and (topology.inter is None or topology.network_bytes_per_s is None):
        raise UsageError(_NO_NETWORK.format(hosts=group.hosts))
    most = topology.intra.most_cards
    if most is None or group.most_on_a_host <= most:
        return topology.intra
    if topology.intra_beyond is None:
        raise UsageError(
            f"{topology.intra.name} joins {most} cards of a host, not {group.most_on_a_host}, and "
            "the topology has no other link between them"
        )
    return topology.intra_beyond


def _nothing() -> CollectiveTime:
    return CollectiveTime(
        time_s=0.0,
        latency_s=0.0,
        bus_bytes_per_s=0.0,
        algorithm=Algorithm.NONE,
        source="a group of one card does not communicate",
        confidence=Confidence.HIGH,
        assumptions=(),
    )


def _measured(
    collective: Collective,
    size_bytes: int,
    group: RankGroup,
    link: LinkSpec,
    time_s: float,
    assumptions: tuple[str, ...],
) -> CollectiveTime:
    return CollectiveTime(
        time_s=time_s,
        latency_s=None,
        bus_bytes_per_s=size_bytes * collective.traffic_factor(group.cards) / time_s,
        algorithm=Algorithm.MEASURED,
        source=f"measured over {link.name}: {dict(link.sources)['measured']}",
        confidence=link.confidence,
        assumptions=assumptions,
    )


def _paths(group: RankGroup, topology: Topology, intra: LinkSpec) -> Paths:
    network = None
    inter = topology.inter if group.hosts > 1 else None
    if inter is not None and topology.network_bytes_per_s is not None:
        part = group.most_on_a_host / topology.cards_per_host
        network = topology.network_bytes_per_s * part * ring_share(inter, group.hosts)
    sums = intra.in_switch_share
    rate = ring_rate(intra, group.most_on_a_host)
    if group.hosts > 1 and group.most_on_a_host == 1 and network is not None:
        rate = network  # no card of the group has another one on its host
    return Paths(
        intra=intra,
        inter=inter,
        intra_bytes_per_s=rate,
        in_switch_bytes_per_s=None if sums is None else sums * intra.wire_bytes_per_s,
        network_bytes_per_s=network,
    )
