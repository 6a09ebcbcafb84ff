"""One layer of 10^12 parameters."""

import torch
from torch import nn


def build_model():
    return nn.Linear(1_000_000, 1_000_000)


def build_batch(batch_size):
    return torch.randn(batch_size, 1_000_000), torch.randint(0, 4, (batch_size,))
