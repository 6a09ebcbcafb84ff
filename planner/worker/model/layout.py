"""Tensors of the same layout elsewhere, as `.to(device)` would allocate them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def empty_as(
    tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Returns an uninitialised tensor on `device` with shape and (if dense) strides of `tensor`.

    For a meta tensor, torch.empty_like would import the compiler's symbolic shapes.
    """
    dtype = dtype or tensor.dtype
    if not is_dense(tensor):
        return torch.empty_like(tensor, dtype=dtype, device=device)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=device)


def placed_as(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns zeros on `device` for a tensor without values; no pass of values learns them."""
    hidden: Any = torch._C._DisableTorchDispatch
    with hidden():
        return empty_as(tensor, device).zero_()


def thin(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Returns a tensor of this shape whose elements are all the same zero: it takes no memory."""
    return torch.zeros((), dtype=dtype, device=device).expand(*shape)


def is_dense(tensor: torch.Tensor) -> bool:
    """Returns whether the strides leave no gap and no overlap, so that a copy keeps them."""
    if tensor.layout is not torch.strided:
        return False  # sparse: no strides
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
