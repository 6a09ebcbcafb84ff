"""Model file of the published script: input, weight and bias drawn on the card, then 100 conv3d.

The output of each convolution is made while the variable still holds that of the one before: two
are alive at the peak. Source: https://github.com/pytorch/pytorch/issues/166643
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

INPUT_SHAPE = (1, 96, 6, 626, 626)
WEIGHT_SHAPE = (96, 96, 3, 3, 3)
BIAS_SHAPE = (96,)


class PublishedRun(nn.Module):
    """The tensors of the script; forward is its measured part."""

    def __init__(self, dtype: torch.dtype, convolutions: int) -> None:
        super().__init__()
        # Drawn in float32 and converted, as in the script: bfloat16 has its peak here already.
        self.register_buffer("input", torch.randn(INPUT_SHAPE).type(dtype))
        self.register_buffer("weight", torch.randn(WEIGHT_SHAPE).type(dtype))
        self.register_buffer("bias", torch.randn(BIAS_SHAPE).type(dtype))
        self.convolutions = convolutions

    def forward(self, batch: Tensor) -> Tensor:
        """Returns only the batch: a returned output would live into the next step."""
        for _ in range(self.convolutions):
            output = functional.conv3d(self.input, self.weight, self.bias)  # noqa: F841 - held
        return batch


def build_model(dtype: str, convolutions: int) -> nn.Module:
    """Builds the run in `dtype`, float32 or bfloat16; 0 convolutions: only the tensors."""
    return PublishedRun(getattr(torch, dtype), convolutions)


def build_batch(batch_size: int) -> Tensor:
    """Returns a placeholder of 512 bytes: the input is one of the script's own tensors."""
    return torch.zeros(batch_size)
