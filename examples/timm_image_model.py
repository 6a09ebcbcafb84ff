"""A model of timm by name, without its weights: nothing is downloaded.

planner estimate examples/timm_image_model.py --gpu a100 --model-arg name=vit_small_patch16_224
"""

from __future__ import annotations

import timm
import torch
from torch import nn


def build_model(name: str = "convnext_tiny", classes: int = 1000) -> nn.Module:
    return timm.create_model(name, pretrained=False, num_classes=classes)


def build_batch(batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch_size, 3, 224, 224), torch.randint(0, 1000, (batch_size,))


def build_optimizer(parameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
