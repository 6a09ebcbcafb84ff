"""Garbage, written to every descriptor at import."""

import os

import torch
from torch import nn

for descriptor in range(3, 1024):
    try:
        os.write(descriptor, b"garbage\n")
    except OSError:
        pass


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
