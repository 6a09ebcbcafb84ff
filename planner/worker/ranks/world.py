"""The rank that a run plays: variables of its environment, its group, its device mesh.

In: ParallelConfig. Out: World. Convention: begun once in a process, which ends with the run.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planner.config.parallel import ParallelConfig
from planner.worker.engines import emulation
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.ranks.membership import begin, variables

if TYPE_CHECKING:
    from planner.worker.ranks.pipeline.chain import Chain
    from planner.worker.ranks.pipeline.staged import StagedModel

_SHARDS = "dp_shard_cp"  # torchtitan's name
_RANKS_OF_FSDP = "dp_shard"
_OF_EXPERTS = ("efsdp", "ep")  # the same ranks, where experts are dealt out


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A job on several GPUs, as one of its ranks sees it."""

    config: ParallelConfig
    """The degrees, the knobs and the rank."""
    mesh: Any
    """The torch.distributed DeviceMesh, with the names of ParallelConfig.dimensions."""
    log: CommunicationLog
    """The messages of this rank."""
    chain: Chain | None = None
    """The way of a micro-batch through the model, in a pipeline."""
    staged: list[StagedModel] = field(default_factory=list)
    """The stages of this rank, once the model is divided: one entry, or none."""

    def dimension(self, name: str) -> Any:
        """Returns the part of the mesh with one dimension."""
        return self.mesh[name]

    def sharding_mesh(self) -> Any:
        """Returns the mesh over which FSDP shards: one dimension, or two with replicas.

        Ranks that divide a sequence hold the same parameters, so that FSDP shards over them too.
        """
        names = self.mesh.mesh_dim_names
        if self.config.experts > 1:
            return self.mesh[_RANKS_OF_FSDP]
        shards = tuple(name for name in ("dp_shard", "cp") if name in names)
        if len(shards) > 1:
            mesh, shards = self.mesh[shards]._flatten(_SHARDS), (_SHARDS,)
        elif shards:
            mesh = self.mesh[shards[0]]
        if "dp_replicate" not in names:
            return mesh
        with warnings.catch_warnings():  # torch will want another way to write this
            warnings.filterwarnings("ignore", message="Slicing a flattened dim")
            both = ("dp_replicate", *shards)
            return self.mesh[both] if shards else self.mesh["dp_replicate"]


def world_of(parallel: ParallelConfig, chain: Chain | None = None) -> World:
    """Makes this process a rank of the job."""
    from torch.distributed.device_mesh import init_device_mesh

    from planner.worker.ranks.alike import ask_once

    emulation.keep_contents()  # what DDP agrees on through the card
    os.environ.update(variables(parallel.rank, parallel.gpus, parallel.hosts))
    log = begin(parallel.rank, parallel.gpus, parallel.gpus_of_a_host)
    ask_once()
    if parallel.pipeline > 1:
        from planner.worker.ranks.pipeline.votes import take_own_votes

        take_own_votes()
    names, degrees = zip(*parallel.dimensions, strict=True)
    mesh = init_device_mesh("cuda", degrees, mesh_dim_names=names)
    if parallel.experts > 1:
        warnings.filterwarnings("ignore", message="Slicing a flattened dim")  # of this process
        mesh[_OF_EXPERTS]._flatten(_RANKS_OF_FSDP)  # mesh["dp_shard"], as without experts
    return World(config=parallel, mesh=mesh, log=log, chain=chain)
