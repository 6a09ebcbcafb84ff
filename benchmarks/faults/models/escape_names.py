"""Modules with the escapes of a terminal in their names."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module("\x1b]0;TITLE\x07\x1b[31mred\x1b[2J", nn.Linear(16, 4000))
        self.add_module("[bold red]markup[/]", nn.Linear(4000, 4))
        self.add_module("two\nlines\r\x08", nn.Linear(4, 4))

    def forward(self, x):
        for module in self.children():
            x = module(x)
        return x


Net.__name__ = "Odd\x1b[31m[blink]\nName"


def build_model():
    return Net()


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
