"""100,000 layers."""

import torch
from torch import nn


def build_model():
    layers = [nn.Linear(16, 16, bias=False) for _ in range(100_000)]
    return nn.Sequential(*layers, nn.Linear(16, 4))


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
