"""64 MiB printed at each build."""

import torch
from torch import nn


def build_model():
    for _ in range(64):
        print("x" * (1 << 20))
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
