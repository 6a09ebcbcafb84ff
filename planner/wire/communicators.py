"""The groups of ranks that a rank has talked to.

In: nothing. Out: records that runs and counts send to the parent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicatorUse:
    """A group of ranks that has sent something, for which NCCL keeps buffers."""

    group: str
    """Name of the dimension of the mesh, or of the group; "" for all ranks of the job."""
    ranks: int
    """Number of ranks in the group."""
    hosts: int
    """Number of machines that the group is on."""
    sends_to_peers: bool
    """Whether it sends from rank to rank, besides collectives."""
