"""126 processes that go on forking; bounded."""

import os
import time

import torch
from torch import nn


def bomb(generations):
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if generations:
                bomb(generations - 1)
            time.sleep(300)
            os._exit(0)


def build_model():
    bomb(5)
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
