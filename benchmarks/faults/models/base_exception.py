"""A BaseException of its own while the model is built."""

import torch
from torch import nn


class Odd(BaseException):
    pass


def build_model():
    raise Odd("odd")


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
