"""A segmentation fault while the model is built."""

import ctypes

import torch
from torch import nn


def build_model():
    ctypes.string_at(0)
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
