"""Imports what a rank needs, before the processes that play it are forked.

In: the degrees of a job. Out: modules of torch.distributed in this process, and in its forks.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable

from planner.config.parallel import DataParallel, ParallelConfig
from planner.worker.model.compiler import load_compiler

_LOG = logging.getLogger(__name__)
_OF_ALL = ("torch.distributed.device_mesh",)
_OF_PARTS = ("torch.distributed.tensor",)
_OF_SHARDS = ("torch.distributed.fsdp", "torch.distributed.checkpoint.state_dict")
_OF_STAGES = ("torch.distributed.pipelining",)


def import_for(parallel: ParallelConfig) -> None:
    """Imports the modules of the strategies of `parallel`. The run itself reports what fails."""
    names: tuple[str, ...] = _OF_ALL
    is_sharded = parallel.data is DataParallel.FSDP
    if is_sharded or parallel.tensor > 1 or parallel.context > 1:
        names += _OF_PARTS
        _try(load_compiler)  # what a DTensor's first operator does
    if is_sharded:
        names += _OF_SHARDS
    if parallel.pipeline > 1:
        names += _OF_STAGES
    for name in names:
        _try(importlib.import_module, name)


def _try(load: Callable[..., object], *arguments: str) -> None:
    try:
        load(*arguments)
    except Exception:
        _LOG.debug("%s %s failed ahead of a run", load, arguments, exc_info=True)
