"""Where the cards of a run are: on which hosts, and by which links they reach each other.

In: a host or a card of the hardware database. Out: Topology, and RankGroup for the ranks that
communicate. Convention: ranks fill one host after the other, as torchrun starts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from planner.errors import UsageError
from planner.hardware.database import LinkDatabase
from planner.hardware.host_specs import HostSpec
from planner.hardware.link_specs import LinkSpec
from planner.hardware.specs import GpuSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The cards of a run and their links.

    `intra` joins the cards of one host; `intra_beyond` those of a group that is larger than `intra`
    can join (a pair with a bridge); None: there is no such link. `inter` joins hosts and
    `network_bytes_per_s` is the sum of one host's adapters in one direction; None: the hosts are
    not joined, or there is one. `assumptions` says in words what was not asked for.
    """

    cards_per_host: int
    hosts: int
    intra: LinkSpec
    intra_beyond: LinkSpec | None = None
    inter: LinkSpec | None = None
    network_bytes_per_s: float | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def cards(self) -> int:
        """Returns the number of all cards."""
        return self.cards_per_host * self.hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class RankGroup:
    """The ranks that take part in a communication: how many of them are on each of their hosts."""

    cards_by_host: tuple[int, ...]

    @property
    def cards(self) -> int:
        """Returns the number of ranks."""
        return sum(self.cards_by_host)

    @property
    def hosts(self) -> int:
        """Returns the number of hosts with at least one of the ranks."""
        return len(self.cards_by_host)

    @property
    def most_on_a_host(self) -> int:
        """Returns how many of the ranks are on the host with most of them."""
        return max(self.cards_by_host)

    @property
    def least_on_a_host(self) -> int:
        """Returns how many of the ranks are on the host with fewest of them."""
        return min(self.cards_by_host)


def group_of_ranks(ranks: Iterable[int], topology: Topology) -> RankGroup:
    """Returns the group of these ranks.

    Raises:
        UsageError: there is no rank, a rank is there twice, or is not one of the topology.
    """
    members = list(ranks)
    if not members or len(set(members)) != len(members):
        raise UsageError(f"the ranks {members} are no group: each is there once, and at least one")
    wrong = [rank for rank in members if not 0 <= rank < topology.cards]
    if wrong:
        raise UsageError(
            f"rank {wrong[0]} is not one of 0 to {topology.cards - 1}: {topology.hosts} hosts of "
            f"{topology.cards_per_host} cards"
        )
    by_host = Counter(rank // topology.cards_per_host for rank in members)
    return RankGroup(cards_by_host=tuple(by_host[host] for host in sorted(by_host)))


def topology_of_host(
    host: HostSpec, links: LinkDatabase, *, hosts: int = 1, cards_per_host: int | None = None
) -> Topology:
    """Returns the topology of one or several hosts of a kind.

    `cards_per_host` is how many cards of each are used, with their part of its adapters; None: all.

    Raises:
        UsageError: the host has no cards, cards of several kinds or too few, or its record does not
            say what joins its cards, or hosts.
    """
    if len(host.gpus) != 1:
        raise UsageError(f"{host.name} does not have cards of one kind; name one that has")
    all_cards = host.gpus[0][1]
    cards = all_cards if cards_per_host is None else cards_per_host
    if not 1 <= cards <= all_cards:
        raise UsageError(f"{host.name} has {all_cards} cards, not {cards}")
    if host.links is None:
        raise UsageError(
            f"the record of {host.name} does not say what joins its cards; add `links` to it with "
            "--hardware-db"
        )
    if hosts > 1 and host.links.network is None:
        raise UsageError(
            f"the record of {host.name} does not say what joins {hosts} of them; add "
            "`links.network` to it with --hardware-db"
        )
    network, rate = None, None
    if hosts > 1 and host.links.network is not None and host.links.network_bytes_per_s is not None:
        network = links.find(host.links.network).spec
        rate = host.links.network_bytes_per_s * cards / all_cards
    return Topology(
        cards_per_host=cards,
        hosts=hosts,
        intra=links.find(host.links.cards).spec,
        inter=network,
        network_bytes_per_s=rate,
    )


def topology_of_card(
    card: GpuSpec,
    links: LinkDatabase,
    *,
    cards_per_host: int,
    hosts: int = 1,
    intra: LinkSpec | None = None,
    inter: LinkSpec | None = None,
    adapters_per_host: int | None = None,
) -> Topology:
    """Returns the topology of cards of a kind when nobody names a host.

    The cards of a host are joined by `intra`, None: as usual for the card, which is an assumption.
    Hosts are joined by `inter`, with one adapter for each card where `adapters_per_host` is None.

    Raises:
        UsageError: several hosts without `inter`, or a link of the wrong kind.
        UnknownLinkError: no usual link of the card is known.
    """
    assumptions: list[str] = []
    beyond = None
    if intra is None:
        match = links.of_card(card)
        intra = match.spec
        assumptions += [match.note] if match.note else []
    elif intra.most_cards is not None and intra.most_cards < cards_per_host:
        beyond = links.by_id(f"pcie-{card.pcie_generation}")
        if beyond is not None:
            assumptions.append(f"{beyond.name} for groups above {intra.most_cards} cards of a host")
    if hosts > 1 and inter is None:
        raise UsageError(f"{hosts} hosts need a link between them, like infiniband-ndr")
    if intra.kind.between_hosts or (inter is not None and not inter.kind.between_hosts):
        raise UsageError("a link between hosts cannot join the cards of one, nor the other way")
    adapters = cards_per_host if adapters_per_host is None else adapters_per_host
    if hosts > 1 and adapters_per_host is None:
        assumptions.append("one network adapter for each card")
    several = inter is not None and hosts > 1
    return Topology(
        cards_per_host=cards_per_host,
        hosts=hosts,
        intra=intra,
        intra_beyond=beyond,
        inter=inter if several else None,
        network_bytes_per_s=adapters * inter.wire_bytes_per_s if inter and several else None,
        assumptions=tuple(assumptions),
    )
