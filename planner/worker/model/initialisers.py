"""Initialisers that end on a device whose values cannot be trusted.

In: nothing. Out: a context in which torch.nn.init.trunc_normal_ does not draw again on CUDA.
Convention: the allocations of one redraw are made, as on a real card, and no value is read.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import init

# fraction of the normal distribution inside [a, b] above which torch 2.14 draws normal values
# and redraws the outer ones; below, it rejects uniform ones (torch/nn/init.py)
_NORMAL_FRACTION = 0.3


@contextmanager
def no_redraw_on_cuda() -> Iterator[None]:
    """Replaces the function behind trunc_normal_, which may loop until every value is in range."""
    original = getattr(init, "_no_grad_trunc_normal_", None)
    if original is None:
        yield
        return
    init._no_grad_trunc_normal_ = _on_cuda_once(original)
    try:
        yield
    finally:
        init._no_grad_trunc_normal_ = original


@functools.lru_cache(maxsize=1)
def _loops(function: Callable[..., Any]) -> bool:
    try:
        return "while " in inspect.getsource(function)
    except (OSError, TypeError):
        return True


def _on_cuda_once(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def trunc_normal(
        tensor: torch.Tensor,
        mean: float,
        std: float,
        a: float,
        b: float,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        if not tensor.is_cuda or not _loops(original):
            return original(tensor, mean, std, a, b, generator=generator)
        with torch.no_grad():
            return _draw_once(tensor, mean, std, a, b, generator)

    return trunc_normal


def _draw_once(
    tensor: torch.Tensor,
    mean: float,
    std: float,
    a: float,
    b: float,
    generator: torch.Generator | None,
) -> torch.Tensor:
    inside = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
    if inside > _NORMAL_FRACTION:
        tensor.normal_(mean, std, generator=generator)
        outside = (tensor < a) | (tensor > b)
        again = torch.empty_like(tensor).normal_(mean, std, generator=generator)
        return tensor.copy_(torch.where(outside, again, tensor))
    candidates = torch.empty_like(tensor)
    accepted = torch.empty_like(tensor)
    candidates.copy_(tensor.uniform_(a, b, generator=generator))
    pending = accepted.uniform_(generator=generator).gt(candidates)
    result = torch.where(pending, candidates.uniform_(a, b, generator=generator), tensor)
    pending = torch.where(pending, accepted.gt(candidates), pending)
    return tensor.copy_(result)


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0
