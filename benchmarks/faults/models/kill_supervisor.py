"""The parent's parent killed while the model is built."""

import os
import signal

import torch
from torch import nn


def parent(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def build_model():
    os.kill(parent(os.getppid()), signal.SIGKILL)
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
