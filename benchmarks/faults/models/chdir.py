"""Another folder, mask, HOME and TMPDIR, set at import."""

import os

import torch
from torch import nn

os.chdir("/")
os.umask(0o777)
for name in ("HOME", "TMPDIR"):
    os.environ[name] = "/nonexistent"


def build_model():
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
