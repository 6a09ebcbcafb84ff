"""liger-kernel's loss, which never holds all logits: a head of 32768 words on 4096 tokens."""

from __future__ import annotations

from typing import Any

import torch
from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
from torch import nn

WIDTH, WORDS, TOKENS = 1024, 32768, 512


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(WIDTH, WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.loss = LigerFusedLinearCrossEntropyLoss()

    def forward(self, hidden: torch.Tensor, labels: torch.Tensor) -> Any:
        return self.loss(self.head.weight, self.body(hidden).view(-1, WIDTH), labels.view(-1))


def build_model() -> nn.Module:
    return Head()


def build_batch(batch_size: int) -> dict[str, torch.Tensor]:
    return {
        "hidden": torch.zeros(batch_size, TOKENS, WIDTH),
        "labels": torch.zeros(batch_size, TOKENS, dtype=torch.long),
    }


def training_step(model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
    return model(**batch)


def build_optimizer(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)
