"""Functions of torch, json and os replaced by useless ones."""

import json
import os

import torch
from torch import nn

torch.cuda.memory_stats = lambda *a, **k: {}
torch.cuda.max_memory_allocated = lambda *a, **k: 1
torch.cuda.max_memory_reserved = lambda *a, **k: 1
json.dumps = lambda *a, **k: "{}"
os.write = lambda *a: 0


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
