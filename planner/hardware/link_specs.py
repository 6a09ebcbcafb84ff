"""Records of one link: what joins the cards of a host, or the hosts of a cluster.

In: values already checked by `link_record`. Out: LinkSpec and its parts. Bytes per second and
seconds. Convention: a rate is of one direction and of one card (of one adapter, for a network);
bus bandwidth is that of nccl-tests, bytes x `traffic_factor` / time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.hardware.specs import Confidence, GpuSpec


class LinkKind(str, Enum):
    """What a link is made of; NCCL's latencies and its number of channels follow from it."""

    NVSWITCH = "nvswitch"  # NVLink by switches: each card reaches each other one at full rate
    NVLINK = "nvlink"  # NVLink from card to card, without switches
    PCIE = "pcie"  # through the host's own lanes, switches and processors
    INFINIBAND = "infiniband"  # between hosts
    ROCE = "roce"  # RDMA over Ethernet, between hosts
    EFA = "efa"  # Elastic Fabric Adapter of AWS, between hosts

    @property
    def between_hosts(self) -> bool:
        """Returns whether it joins hosts; otherwise it joins the cards of one host."""
        return self in (LinkKind.INFINIBAND, LinkKind.ROCE, LinkKind.EFA)


class Collective(str, Enum):
    """One communication of a group of cards.

    The size of each is that of nccl-tests: the whole buffer, so the gathered one of an all-gather,
    the one before the sum of a reduce-scatter, and the one of all parts of an all-to-all.
    """

    ALL_REDUCE = "all_reduce"
    """Each card ends with the sum of all buffers."""
    ALL_GATHER = "all_gather"
    """Each card ends with the parts of all cards."""
    REDUCE_SCATTER = "reduce_scatter"
    """Each card ends with its part of the sum."""
    ALL_TO_ALL = "all_to_all"
    """Each card has a part for each other one."""
    BROADCAST = "broadcast"
    """One card's buffer goes to all."""
    SEND_RECV = "send_recv"
    """One card's buffer goes to one other card."""

    def traffic_factor(self, cards: int) -> float:
        """Returns bytes on the wire of one card for each byte of the size, in one direction."""
        if self is Collective.ALL_REDUCE:
            return 2 * (cards - 1) / cards
        if self in (Collective.BROADCAST, Collective.SEND_RECV):
            return 1.0
        return (cards - 1) / cards


@dataclass(frozen=True, slots=True, kw_only=True)
class BusBandwidth:
    """Measured bus bandwidth of one collective over a number of cards of one host.

    `points` holds (size in bytes, bytes per second), sorted by size; small sizes include latency.
    """

    collective: Collective
    cards: int
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HopLatency:
    """NCCL's latency of one hop by protocol, in seconds."""

    ll_s: float
    ll128_s: float
    simple_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """NCCL's channels, each with its own buffers. None: not published.

    `collective` is for rings and trees, `point_to_point` for each peer of send and receive, and
    `in_switch` for sums in the switches (NVLS); 0: there are none.
    """

    collective: int
    point_to_point: int
    in_switch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """One kind of link.

    `wire_bytes_per_s` is what one card (one adapter of a network) sends at the same time as it
    receives. `most_cards` is how many cards one such link joins; None: any number. `ring_shares`
    holds, by cards, the part of the wire that the ring of a large message reaches;
    `in_switch_share` the same of an all-reduce that the switches sum, above 1 because less crosses
    the wire; None: the switches do not sum. `default_for` holds ids of the cards that have this
    link when nobody names a host.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    kind: LinkKind
    wire_bytes_per_s: float
    most_cards: int | None
    default_for: tuple[str, ...]
    ring_shares: tuple[tuple[int, float], ...]
    in_switch_share: float | None
    least_cards_in_switch: int | None
    ring_hop: HopLatency
    tree_hop: HopLatency
    channels: Channels | None
    measured: tuple[BusBandwidth, ...]
    sources: tuple[tuple[str, str], ...]
    confidence: Confidence
    note: str | None

    def measured_rows(self, collective: Collective) -> tuple[BusBandwidth, ...]:
        """Returns the measured rows of a collective, fewest cards first."""
        rows = (row for row in self.measured if row.collective is collective)
        return tuple(sorted(rows, key=lambda row: row.cards))

    def to_dict(self) -> dict[str, Any]:
        """Returns the link for a JSON document: plain types, stable order."""
        return {
            "id": self.id,
            "name": self.name,
            "aliases": list(self.aliases),
            "kind": self.kind.value,
            "between_hosts": self.kind.between_hosts,
            "wire_bytes_per_s": self.wire_bytes_per_s,
            "most_cards": self.most_cards,
            "default_for": list(self.default_for),
            "ring_shares": [
                {"cards": cards, "fraction": share} for cards, share in self.ring_shares
            ],
            "in_switch_share": self.in_switch_share,
            "least_cards_in_switch": self.least_cards_in_switch,
            "measured": [
                {
                    "collective": row.collective.value,
                    "cards": row.cards,
                    "points": [
                        {"size_bytes": size, "bus_bytes_per_s": rate} for size, rate in row.points
                    ],
                }
                for row in self.measured
            ],
            "sources": dict(self.sources),
            "confidence": self.confidence.value,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMatch:
    """A link found by name or chosen for a card. `note` says what was assumed; None: nothing."""

    spec: LinkSpec
    requested: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLinks:
    """The links of a host that has several cards.

    `network` and `network_bytes_per_s`, the sum of the adapters in one direction, are None where
    the host has no network between its cards and those of other hosts, or nobody has published it.
    """

    cards: str
    network: str | None
    network_bytes_per_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the links for a JSON document."""
        return {
            "cards": self.cards,
            "network": self.network,
            "network_bytes_per_s": self.network_bytes_per_s,
        }


def has_bridge(card: GpuSpec, link: LinkSpec) -> bool:
    """Returns whether a card can be joined by NVLink bridges that `link` does not count."""
    return link.kind is LinkKind.PCIE and card.nvlink_bytes_per_s > 0
