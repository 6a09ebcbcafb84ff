"""A peak in the optimizer's step until the batch is large."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Linear(16384, 16384)
        self.wide = nn.Linear(256, 150_000)
        self.head = nn.Linear(150_000, 4)

    def forward(self, x):
        hidden = self.wide(x).relu()
        for _ in range(200):
            hidden = torch.tanh(hidden)
        return self.head(hidden) + self.weights.weight[0, 0]


def build_model():
    return Net()


def build_batch(batch_size):
    return torch.randn(batch_size, 256), torch.randint(0, 4, (batch_size,))
