"""All descriptors closed while the model is built."""

import os

import torch
from torch import nn


def build_model():
    os.closerange(3, 4096)
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
