"""All descriptors closed at import."""

import os

import torch
from torch import nn

os.closerange(3, 4096)


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
