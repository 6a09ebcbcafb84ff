"""Large weights of the host are not filled with random numbers in a script's run.

In: the methods and functions that draw weights. Out: the same, which leave a large parameter of the
host as it was allocated. Convention: no byte of the card depends on it, because weights that arrive
there count as unknown; it saves minutes, and the memory of weights that nobody reads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import init

# Smaller ones cost nothing, and a script may well look at them.
LEAST_ELEMENTS = 1 << 18
_METHODS = ("normal_", "uniform_")
_FUNCTIONS = ("_no_grad_trunc_normal_",)  # it computes on what uniform_ has drawn


def leave_large_weights() -> None:
    """Makes the methods leave large parameters of the host as they are."""
    for name in _METHODS:
        setattr(torch.Tensor, name, _leaving(getattr(torch.Tensor, name)))
    for name in _FUNCTIONS:
        drawing = getattr(init, name, None)
        if drawing is not None:
            setattr(init, name, _leaving(drawing))


def _leaving(draw: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(draw)
    def drawn(tensor: torch.Tensor, *args: Any, **keywords: Any) -> Any:
        if isinstance(tensor, nn.Parameter) and _is_large_on_host(tensor):
            return tensor
        return draw(tensor, *args, **keywords)

    return drawn


def _is_large_on_host(tensor: torch.Tensor) -> bool:
    return tensor.numel() >= LEAST_ELEMENTS and tensor.device.type == "cpu"
