"""The messages between the ranks of a job, as one rank has sent them in a step.

In: nothing. Out: records that a count sends to the parent. Convention: sizes are those of
nccl-tests, and so of a bus bandwidth: all that an all-gather returns, all that a reduce-scatter
takes, one rank's tensor for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.hardware.link_specs import Collective
from planner.wire.trace import Phase


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
