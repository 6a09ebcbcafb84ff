"""Model file of timm's training benchmark: one network of timm, trained as its results were taken.

This file repeats the benchmark: autocast to fp16 without GradScaler; cross-entropy
within autocast; SGD with momentum 0.9 and Nesterov's rule, parameter by parameter, as torch 1.12
did it; float32 images and targets made on the card. Attention is written out, as in timm 0.6
(TIMM_FUSED_ATTN=0 in the environment). The benchmark's backward was within autocast too, which
keeps the float16 copies of the weights to its end: they do not count at the peak, where all of them
are held anyway. Source of the procedure:
https://github.com/huggingface/pytorch-image-models (benchmark.py at 066e490)
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional


def build_model(name: str) -> nn.Module:
    """Builds the network of this name with its own number of classes."""
    network = timm.create_model(name, pretrained=False)
    assert isinstance(network, nn.Module)
    return network


def training_step(model: nn.Module, images: Tensor) -> Tensor:
    """Returns the loss, with targets drawn for this step."""
    with torch.autocast("cuda", torch.float16):
        output = model(images)
        if isinstance(output, tuple):
            output = output[0]
        target = torch.empty(output.shape[0], device=images.device, dtype=torch.long)
        return functional.cross_entropy(output, target.random_(output.shape[1]))


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds the SGD of the benchmark; `foreach` was not torch's default then."""
    return torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, nesterov=True, foreach=False)
