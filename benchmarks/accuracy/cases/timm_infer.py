"""Model file of timm's inference benchmark: float32 weights, autocast to fp16, float32 images.

The forward runs under torch.inference_mode() (the step's mode), within autocast here, as the
benchmark entered it around the model alone. Attention is fused, as in timm of 2025, and so are the
parts of networks that can be (timm.utils.reparameterize_model): the published parameter counts are
those of fused networks. Source of the procedure:
https://github.com/huggingface/pytorch-image-models (benchmark.py)
"""

from __future__ import annotations

import timm
import torch
from timm.utils import reparameterize_model
from torch import Tensor, nn


class Autocast(nn.Module):
    """A network whose forward runs under autocast to float16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Returns the network's output."""
        with torch.autocast("cuda", torch.float16):
            output: Tensor = self.network(images)
        return output


def build_model(name: str, fused: bool = True, compiled: bool = False) -> nn.Module:
    """Builds the network of this name with its own number of classes, fused if possible.

    `compiled`: by torch.compile, as `benchmark.py --torchcompile` does.
    """
    network = timm.create_model(name, pretrained=False).eval()
    if fused:
        network = reparameterize_model(network, inplace=True)
    return Autocast(torch.compile(network) if compiled else network)
