"""A script plays one rank of its job: torch.distributed has peers that are taken to be like it.

In: PlayedRank, just after torch's import. Out: the variables of torchrun, and functions of
torch.distributed that make groups of one rank alone (worker/ranks/process_group.py). Convention:
the backend that the script asks for is what it is answered when it asks for its name.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from planner.wire.script import PlayedRank
from planner.worker.ranks import membership
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.ranks.process_group import BACKEND
from planner.worker.script.sharded_saves import save_alone

_NCCL = "nccl"
_OF_TORCH = "torch.distributed"
_PIPELINES = "torch.distributed.pipelining"


def play(rank: PlayedRank) -> CommunicationLog:
    """Makes this process the rank; returns the log of its messages."""
    os.environ.update(rank.environment)
    os.environ.update(membership.variables(rank.rank, rank.gpus, rank.hosts))
    log = membership.register(rank.gpus, rank.gpus // rank.hosts)
    asked = [_NCCL]
    made: Any = dist.init_process_group

    @functools.wraps(made)
    def init_process_group(backend: str | None = None, *_: Any, **given: Any) -> None:
        asked[0] = str(backend or _NCCL).rpartition(":")[2]
        membership.init(rank.rank, rank.gpus)
        if _PIPELINES in sys.modules:
            from planner.worker.ranks.pipeline.votes import take_own_votes

            take_own_votes()

    grouped: Any = dist.new_group

    @functools.wraps(grouped)
    def new_group(ranks: Any = None, *_: Any, **given: Any) -> Any:
        described = given.get("group_desc")
        return grouped(ranks, group_desc=described)

    named: Any = dist.get_backend

    @functools.wraps(named)
    def get_backend(*args: Any, **given: Any) -> str:
        found = str(named(*args, **given))
        return asked[0] if found == BACKEND else found

    for old, new in (
        (made, init_process_group),
        (grouped, new_group),
        (named, get_backend),
    ):
        _replace(old, new)
    save_alone()
    return log


def _replace(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Replaces a function in all modules of torch.distributed that have it by its name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_OF_TORCH) and vars(module).get(old.__name__) is old:
            setattr(module, old.__name__, new)
