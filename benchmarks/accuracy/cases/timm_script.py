"""Model file of timm's training script, with its defaults: float32, SGD with Nesterov's momentum.

This file repeats the script: label smoothing of 0.1 in the loss; weight decay of
2e-5 on everything but biases and norms, hence two groups of parameters; images of the size that the
network is trained at. Its loader has moved the next batch to the card before the step begins: as
uint8, and normalised in float32. On a card it switches cuDNN's benchmark mode on, and TF32 for
matrix products. Source of the procedure:
https://github.com/huggingface/pytorch-image-models (train.py and timm/data/loader.py)
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.loss import LabelSmoothingCrossEntropy
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor, Tensor, Tensor]

_shape = (3, 224, 224)


def build_model(name: str) -> nn.Module:
    """Builds the network of this name with its own number of classes."""
    global _shape  # build_batch gets only the size of the batch
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    network = timm.create_model(name, pretrained=False)
    assert isinstance(network, nn.Module)
    configuration: Any = network.pretrained_cfg
    _shape = configuration["input_size"]
    return network


def build_batch(batch_size: int) -> Batch:
    """Draws images and targets, and the next ones as uint8 and as float32."""
    images = torch.randn(batch_size, *_shape)
    raw = torch.zeros(batch_size, *_shape, dtype=torch.uint8)
    targets = torch.randint(0, 1000, (batch_size,))
    return images, targets, raw, torch.randn(batch_size, *_shape)


def training_step(model: nn.Module, batch: Batch) -> Tensor:
    """Returns the loss."""
    images, targets, _, _ = batch
    output = model(images)
    if isinstance(output, (tuple, list)):
        output = output[0]
    loss: Tensor = LabelSmoothingCrossEntropy(0.1)(output, targets)
    return loss


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds SGD as `--opt sgd` does; vectors have no weight decay."""
    given = list(parameters)
    groups = [
        {"params": [one for one in given if one.ndim <= 1], "weight_decay": 0.0},
        {"params": [one for one in given if one.ndim > 1], "weight_decay": 2e-5},
    ]
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
