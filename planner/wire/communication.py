"""The messages between the ranks of a job, as one rank has sent them in a step.

In: nothing. Out: records that a count sends to the parent. Convention: sizes are those of
nccl-tests, and so of a bus bandwidth: all that an all-gather returns, all that a reduce-scatter
takes, one rank's tensor for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.wire.trace import Phase


class Collective(str, Enum):
    """A kind of message between ranks."""

    ALL_REDUCE = "all-reduce"
    """The sum of all ranks' tensors, on each of them."""
    ALL_GATHER = "all-gather"
    """The tensors of all ranks, on each of them."""
    REDUCE_SCATTER = "reduce-scatter"
    """The sum of all ranks' tensors, a part of it on each of them."""
    ALL_TO_ALL = "all-to-all"
    """A part of each rank's tensor for each other rank."""
    BROADCAST = "broadcast"
    """One rank's tensor, on each of them; also scatter, gather and reduce, which move as much."""
    SEND_RECV = "send-recv"
    """One rank's tensor, on another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRecord:
    """Alike messages of a step in one group of ranks."""

    collective: Collective
    """The kind of the message."""
    group: str
    """Name of the dimension of the mesh, or of the group; "" for all ranks of the job."""
    ranks: int
    """Number of ranks in the group."""
    hosts: int
    """Number of machines that the group is on."""
    phase: Phase
    """Phase of the step."""
    size_bytes: int
    """Size of one message, as nccl-tests counts it."""
    calls: int
    """Number of messages."""
