"""A model without parameters."""

import torch
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return x[:, :4]


def build_model():
    return Net()


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
