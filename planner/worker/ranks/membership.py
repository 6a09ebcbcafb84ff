"""Makes a process a rank of a job: variables of its environment, the backend, the default group.

In: the rank, the world size, the machines. Out: the log of the rank's messages. Convention: once in
a process; a later call counts in the place of the first, because torch keeps the first function
that makes groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from planner.worker.ranks.communication import CommunicationLog, RankGroup
from planner.worker.ranks.process_group import BACKEND, OneRank
from planner.worker.ranks.stores import end_waits

_store: Any = dist.HashStore  # type: ignore[attr-defined] # not listed by torch
_init = dist.init_process_group  # a script's own is another one
_PORT = "29500"  # torchrun's default; nobody listens there


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The job whose groups are made."""

    world: int
    gpus_of_a_host: int
    log: CommunicationLog

    def group(self, options: Any, _: Any) -> OneRank:
        """Makes a group of the job, as torch asks for it."""
        ranks = list(options.global_ranks_in_group) or list(range(options.group_size))
        hosts = len({one // self.gpus_of_a_host for one in ranks})
        name = "" if len(ranks) == self.world else str(options.group_id)
        group = RankGroup(name=name, ranks=len(ranks), hosts=hosts)
        return OneRank(options.group_rank, group, self.log)


_JOBS: list[_Job] = []  # the last one counts; torch keeps the first function that it is given


def variables(rank: int, world: int, hosts: int) -> dict[str, str]:
    """Returns what torchrun sets for a rank; the emulated card is the only one of its host here."""
    per_host = world // hosts
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": str(per_host),
        "GROUP_RANK": str(rank // per_host),
        "GROUP_WORLD_SIZE": str(hosts),
        "ROLE_RANK": str(rank),
        "ROLE_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": _PORT,
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
    }


def register(world: int, gpus_of_a_host: int) -> CommunicationLog:
    """Makes the backend known to torch, for groups of a job; returns the log of their messages."""
    end_waits()
    log = CommunicationLog()
    _JOBS.append(_Job(world=world, gpus_of_a_host=gpus_of_a_host, log=log))

    def create(options: Any, more: Any) -> OneRank:
        return _JOBS[-1].group(options, more)

    if BACKEND not in dist.Backend.backend_list:
        dist.Backend.register_backend(BACKEND, create, extended_api=True, devices=["cpu", "cuda"])
    return log


def init(rank: int, world: int) -> None:
    """Makes the default group of torch.distributed, in which this process is a rank."""
    _init(BACKEND, rank=rank, world_size=world, store=_store())


def begin(rank: int, world: int, gpus_of_a_host: int) -> CommunicationLog:
    """Makes this process rank `rank` of `world`; returns the log of its messages."""
    log = register(world, gpus_of_a_host)
    init(rank, world)
    return log
