"""stdin, stdout and stderr closed at import."""

import os
import sys

import torch
from torch import nn

for descriptor in (0, 1, 2):
    os.close(descriptor)
sys.stdout = sys.stderr = None


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
