"""A batch that is an iterator of a number."""

import torch
from torch import nn


def build_batch(batch_size):
    return iter([1])


def build_model():
    return nn.Linear(16, 4)
