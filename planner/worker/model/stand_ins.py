"""Tensors with a `.to` of their own, from the meta device to the card.

In: a tensor without storage. Out: the same tensor with unwritten host memory. The classes of
quantised parameters (bitsandbytes' Params4bit, torchao's tensors) copy their values to the card and
pack them there; their own code runs, because it decides on the allocations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import transform_subclass

from planner.worker.model.composite import is_wrapper
from planner.worker.model.layout import empty_as

_HOST = torch.device("cpu")


def moves_itself(tensor: torch.Tensor) -> bool:
    """Returns whether the class of `tensor` decides what `.to(device)` does."""
    return is_wrapper(tensor) or type(tensor).to is not torch.Tensor.to


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """Returns an uninitialised plain tensor of this layout, or a wrapper of such tensors.

    The kernel gives memory to a page when it is first written.
    """
    if not is_wrapper(tensor):
        return empty_as(tensor, _HOST) if tensor.device.type == "meta" else tensor
    transform: Any = transform_subclass  # untyped in torch
    changed: torch.Tensor = transform(tensor, lambda _, inner: on_host(inner))
    return changed
