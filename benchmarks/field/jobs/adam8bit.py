"""A decoder block stack with bitsandbytes' AdamW8bit."""

import bitsandbytes as bnb
import torch
from torch import nn


def build_model(width: int = 2048, depth: int = 8) -> nn.Module:
    return nn.Sequential(
        *[nn.TransformerEncoderLayer(width, 16, 4 * width, batch_first=True) for _ in range(depth)]
    )


def build_batch(batch_size: int):
    return torch.randn(batch_size, 512, 2048)


def build_optimizer(parameters):
    return bnb.optim.AdamW8bit(parameters, lr=1e-4)
