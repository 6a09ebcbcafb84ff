"""What joins the GPUs of a job: its topology on a card, its messages' times, NCCL's memory.

In: ParallelConfig, the links of the database, the named host. Out: Topology, MessageTimes,
CommunicatorMemory. Convention: without a host, cards are joined as is usual for them, and hosts by
InfiniBand with an adapter for each card; both are said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from planner.config.parallel import ParallelConfig
from planner.errors import UnknownLinkError
from planner.hardware.database import LinkDatabase, load_links
from planner.hardware.host_specs import HostSpec
from planner.hardware.link_specs import Collective, LinkSpec
from planner.hardware.specs import GpuSpec
from planner.memory.budget import MemoryBudget
from planner.memory.communicators import Communicator, CommunicatorMemory, communicator_memory
from planner.timing.bottleneck import MessageTimes, ShardCopies
from planner.timing.collectives import CollectiveTime, collective_time
from planner.timing.overlap import message_times
from planner.timing.timed_operators import TimedMessage
from planner.timing.topology import RankGroup, Topology, topology_of_card, topology_of_host
from planner.wire.communication import CollectiveRecord
from planner.wire.communicators import CommunicatorUse
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import Phase

# By compute capability: what machines with such cards usually have (DGX A100: HDR, DGX H100: NDR).
_USUAL_NETWORKS = (
    ((9, 0), "infiniband-ndr"),
    ((8, 0), "infiniband-hdr"),
    ((0, 0), "infiniband-edr"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The links of a job's GPUs. `machine` is the record of a named host, if it says its links.

    `stage_counts` are the counted steps of other ranks in a pipeline, by their place in it.
    """

    parallel: ParallelConfig
    links: LinkDatabase
    machine: HostSpec | None = None
    stage_counts: Mapping[int, ModelCounts] = field(default_factory=dict)

    def topology(self, card: GpuSpec) -> Topology:
        """Returns the topology of the job on this card.

        Raises:
            UsageError: the named host does not say what joins several of it.
            UnknownLinkError: no usual link of the card is known.
        """
        per_host, hosts = self.parallel.gpus_of_a_host, self.parallel.hosts
        machine = self.machine
        if machine is not None and [one for one, _ in machine.gpus] == [card.id]:
            return topology_of_host(machine, self.links, hosts=hosts, cards_per_host=per_host)
        inter: LinkSpec | None = None
        said: tuple[str, ...] = ()
        if hosts > 1:
            capability = card.profile.compute_capability
            name = next(link for least, link in _USUAL_NETWORKS if capability >= least)
            inter = self.links.find(name).spec
            said = (f"hosts are joined by {inter.name}, an adapter for each card (--host)",)
        found = topology_of_card(
            card,
            self.links,
            cards_per_host=per_host,
            hosts=hosts,
            inter=inter,
            adapters_per_host=per_host,
        )
        return replace(found, assumptions=(*found.assumptions, *said))

    def memory(self, card: GpuSpec, used: Sequence[CommunicatorUse]) -> CommunicatorMemory:
        """Returns NCCL's memory on the card for the groups that a rank has talked to.

        Raises:
            UsageError, UnknownLinkError: see topology.
        """
        topology = self.topology(card)
        return communicator_memory(
            [
                Communicator(
                    name=one.group or "all ranks",
                    cards_by_host=_cards_by_host(one.ranks, one.hosts),
                    link=_link(topology, one.ranks, one.hosts),
                    peers=one.ranks - 1 if one.sends_to_peers else 0,
                )
                for one in used
                if one.ranks > 1
            ]
        )

    def times(
        self,
        card: GpuSpec,
        records: Sequence[CollectiveRecord],
        phases_s: Mapping[Phase, float],
        micro_batches: int,
        copies: ShardCopies | None = None,
    ) -> MessageTimes:
        """Returns the seconds of a step's messages on the card, and of `copies` of shards.

        Raises:
            UsageError, UnknownLinkError: see topology.
        """
        topology = self.topology(card)

        def seconds_of(record: CollectiveRecord) -> float:
            found = _time(record, topology)
            return 0.0 if found is None else found.time_s

        return message_times(records, seconds_of, self.parallel, phases_s, micro_batches, copies)

    def timed(self, card: GpuSpec, records: Sequence[CollectiveRecord]) -> tuple[TimedMessage, ...]:
        """Returns the messages, each with the seconds of one.

        Raises:
            UsageError, UnknownLinkError: see topology.
        """
        topology = self.topology(card)
        found = [(record, _time(record, topology)) for record in records]
        return tuple(
            TimedMessage(message=record, message_s=0.0 if time is None else time.time_s)
            for record, time in found
        )

    def message_s(self, card: GpuSpec, records: Sequence[CollectiveRecord]) -> float:
        """Returns the seconds of the largest message from rank to rank; 0 without any.

        Raises:
            UsageError, UnknownLinkError: see topology.
        """
        sent = [one for one in records if one.collective is Collective.SEND_RECV]
        if not sent:
            return 0.0
        found = _time(max(sent, key=lambda one: one.size_bytes), self.topology(card))
        return 0.0 if found is None else found.time_s

    def words(self, card: GpuSpec, records: Sequence[CollectiveRecord]) -> tuple[str, ...]:
        """Returns the assumptions of the times."""
        topology = self.topology(card)
        found = [_time(record, topology) for record in records]
        said = [text for one in found if one is not None for text in one.assumptions]
        return tuple(dict.fromkeys(f"messages: {text}" for text in (*topology.assumptions, *said)))


def network_of(
    parallel: ParallelConfig | None, machine: HostSpec | None, database: Path | None
) -> Network | None:
    """Returns what joins the GPUs of a job; None: it runs on one.

    Raises:
        HardwareDatabaseError: a record of links cannot be read.
    """
    if parallel is None:
        return None
    has_links = machine is not None and machine.links is not None
    return Network(
        parallel=parallel, links=load_links(database), machine=machine if has_links else None
    )


def with_known_links(
    network: Network | None, budgets: tuple[MemoryBudget, ...]
) -> tuple[tuple[MemoryBudget, ...], tuple[str, ...]]:
    """Returns the cards of which several can be joined, and a warning for each other one.

    Raises:
        UsageError, UnknownLinkError: none of them can be.
    """
    if network is None:
        return budgets, ()
    known, warnings = [], []
    for budget in budgets:
        try:
            network.topology(budget.spec)
            known.append(budget)
        except UnknownLinkError as error:
            if len(budgets) == 1:
                raise
            warnings.append(f"{budget.requested} is left out: {error}")
    return tuple(known), tuple(warnings)


def _time(record: CollectiveRecord, topology: Topology) -> CollectiveTime | None:
    """Returns the time of one message; None: it has no bytes, or nobody else is in the group."""
    if record.size_bytes < 1 or record.ranks < 2:
        return None
    group = RankGroup(cards_by_host=_cards_by_host(record.ranks, record.hosts))
    return collective_time(record.collective, record.size_bytes, group, topology)


def _cards_by_host(ranks: int, hosts: int) -> tuple[int, ...]:
    each, more = divmod(ranks, hosts)
    return tuple(each + (host < more) for host in range(hosts))


def _link(topology: Topology, ranks: int, hosts: int) -> LinkSpec:
    here, most = max(_cards_by_host(ranks, hosts)), topology.intra.most_cards
    if most is not None and here > most and topology.intra_beyond is not None:
        return topology.intra_beyond
    return topology.intra
