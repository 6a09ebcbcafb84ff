"""The log of a rank's messages.

In: each message, as the process group makes it. Out: records for the parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from planner.hardware.link_specs import Collective
from planner.wire.communication import CollectiveRecord
from planner.wire.communicators import CommunicatorUse
from planner.wire.trace import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class RankGroup:
    """Ranks that talk to each other: their number and that of their machines."""

    name: str
    ranks: int
    hosts: int


@dataclass(slots=True, kw_only=True)
class CommunicationLog:
    """The messages of this rank; those in a phase are counted.

    With `most_to_this_rank` each peer of an exchange sends this rank what it keeps for itself; else
    a rank gets what it sends.
    """

    phase: Callable[[], Phase | None] = lambda: None
    calls: Counter[tuple[RankGroup, Collective, Phase, int]] = field(default_factory=Counter)
    used: dict[RankGroup, bool] = field(default_factory=dict)
    most_to_this_rank: bool = False
    units: tuple[str, ...] = ()  # names of the modules that FSDP gathers as a unit

    def note(self, group: RankGroup, collective: Collective, size_bytes: int) -> None:
        """Notes one message."""
        peers = collective in (Collective.SEND_RECV, Collective.ALL_TO_ALL)
        self.used[group] = self.used.get(group, False) or peers
        phase = self.phase()
        if phase is not None:
            self.calls[group, collective, phase, size_bytes] += 1

    def records(self) -> tuple[CollectiveRecord, ...]:
        """Returns the messages in phases, alike ones as one record, in order of the first."""
        return tuple(
            CollectiveRecord(
                collective=collective,
                group=group.name,
                ranks=group.ranks,
                hosts=group.hosts,
                phase=phase,
                size_bytes=size_bytes,
                calls=calls,
            )
            for (group, collective, phase, size_bytes), calls in self.calls.items()
        )

    def communicators(self) -> tuple[CommunicatorUse, ...]:
        """Returns the groups that have sent something, in order of the first message."""
        return tuple(
            CommunicatorUse(
                group=group.name, ranks=group.ranks, hosts=group.hosts, sends_to_peers=peers
            )
            for group, peers in self.used.items()
        )
