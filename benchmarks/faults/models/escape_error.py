"""An error with the escapes of a terminal in its text."""

import torch
from torch import nn


def build_model():
    raise ValueError("\x1b]0;TITLE\x07\x1b[2J\x1b[31mred \x9b31m [bold]markup[/bold] \ud800")


def build_batch(batch_size):
    return torch.randn(batch_size, 16), torch.randint(0, 4, (batch_size,))
