"""Tensors whose parts are on several ranks, as far as a program has any.

In: a tensor. Out: what of it is on this rank. Convention: torch's DTensor is imported only by who
uses it, because that takes long.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from planner.worker.ranks.host_shards import CopyLog

_MODULE = "torch.distributed.tensor"
_FAKE = "torch._subclasses.fake_tensor"
_FSDP2 = "torch.distributed.fsdp._fully_shard"


def is_divided(tensor: torch.Tensor) -> bool:
    """Returns whether `tensor` is a DTensor: its shape is that of all ranks together."""
    module: Any = sys.modules.get(_MODULE)
    return module is not None and isinstance(tensor, module.DTensor)


def take_themselves_apart(kinds: Iterable[Any]) -> bool:
    """Returns whether a DTensor is among classes of tensors: a mode then sees its parts later."""
    module: Any = sys.modules.get(_MODULE)
    return module is not None and any(issubclass(kind, module.DTensor) for kind in kinds)


def are_shapes_alone(kinds: Iterable[Any]) -> bool:
    """Returns whether an operator is run for its shapes, as DTensor does for a new operator."""
    return any(kind.__module__ == _FAKE for kind in kinds)


def empty_as(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns a DTensor on `device` with this rank's part of `tensor`, uninitialised."""
    return torch.empty_like(tensor, device=device)


def shards_on_host(model: nn.Module) -> set[int]:
    """Returns the ids of the parameters whose shards FSDP keeps in the RAM of the host."""
    if _FSDP2 not in sys.modules:
        return set()
    from planner.worker.ranks import host_shards

    return host_shards.on_host(model)


def copies_of_shards(model: nn.Module) -> CopyLog | None:
    """Returns the log of copies of shards between card and host; None: no shard is on the host."""
    if not shards_on_host(model):
        return None
    from planner.worker.ranks import host_shards

    return host_shards.LOG


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a DTensor whose part on this rank is in the RAM of the host, without bytes here."""
    from planner.worker.ranks import host_shards

    found: torch.Tensor = host_shards.placed(tensor)
    return found
