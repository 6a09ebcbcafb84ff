"""Moves to the card replaced by nothing."""

import torch
from torch import nn

torch.Tensor.to = lambda self, *a, **k: self
torch.Tensor.cuda = lambda self, *a, **k: self
nn.Module.to = lambda self, *a, **k: self


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
