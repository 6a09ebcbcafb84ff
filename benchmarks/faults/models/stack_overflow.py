"""The stack of C overflows."""

import sys

import torch
from torch import nn

sys.setrecursionlimit(10**9)


def deeper(n):
    return sorted([n], key=lambda value: deeper(value + 1))


def build_model():
    deeper(0)
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
