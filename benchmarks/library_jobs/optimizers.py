"""Eight linear layers, with the optimizer of a package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

LAYERS, WIDTH = 8, 1024
_chosen = ""


def build_model(optimizer: str) -> nn.Module:
    global _chosen
    _chosen = optimizer
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))


def build_batch(batch_size: int) -> torch.Tensor:
    return torch.zeros(batch_size, WIDTH)


def build_optimizer(parameters: Iterable[nn.Parameter]) -> Any:
    package, _, name = _chosen.partition(".")
    if package == "bitsandbytes":
        import bitsandbytes

        return getattr(bitsandbytes.optim, name)(parameters)
    import torchao.optim

    return getattr(torchao.optim, name)(parameters)
