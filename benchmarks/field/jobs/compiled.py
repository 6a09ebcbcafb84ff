"""torch.compile around an ordinary network."""

import torch
from torch import nn


def build_model(width: int = 1024) -> nn.Module:
    model = nn.Sequential(
        *[nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.GELU()) for _ in range(5)]
    )
    return torch.compile(model)


def build_batch(batch_size: int):
    return torch.randn(batch_size, 256, 1024)
