"""A process that forks its successor and ends, again and again, for 20 s."""

import os
import time

import torch
from torch import nn


def build_model():
    if os.fork() == 0:
        end = time.time() + 20
        while time.time() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
            time.sleep(0.0005)
        os._exit(0)
    return nn.Linear(16, 4)


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
