"""An exception whose text ends the process."""

import torch
from torch import nn


class Bad(Exception):
    def __str__(self):
        raise SystemExit(0)

    __repr__ = __str__


def build_model():
    raise Bad


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
