"""Multilayer perceptron for 28 x 28 images: 784 -> 1024 -> 1024 -> 10, 1,863,690 parameters.

The smallest file that obeys the contract: no training_step, so the loss is the default for a 2-D
output, cross-entropy. Source: Rumelhart, Hinton, Williams 1986, https://doi.org/10.1038/323533a0
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def build_model(width: int = 1024, depth: int = 2) -> nn.Module:
    """`depth` hidden layers of `width` units with ReLU."""
    sizes = [784] + [width] * depth
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


def build_batch(batch_size: int) -> torch.Tensor:
    """Flattened images, (batch, 784)."""
    return torch.randn(batch_size, 784)
