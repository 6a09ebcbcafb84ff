"""A mixture of experts in plain PyTorch: 8 experts, the best 2 for each token, tokens picked by torch.where."""

import torch
from torch import nn
from torch.nn import functional as F


class Experts(nn.Module):
    def __init__(self, width: int, hidden: int, count: int, best: int) -> None:
        super().__init__()
        self.best = best
        self.router = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
            for _ in range(count)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        weights, chosen = F.softmax(self.router(x), dim=-1).topk(self.best, dim=-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen == number)
            out.index_add_(0, token, expert(x[token]) * weights[token, place, None])
        return out.reshape(shape)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.experts = Experts(width, 4 * width, 8, 2)

    def forward(self, x):
        return x + self.experts(self.norm(x))


def build_model(width: int = 1024, depth: int = 4) -> nn.Module:
    return nn.Sequential(*[Block(width) for _ in range(depth)])


def build_batch(batch_size: int):
    return torch.randn(batch_size, 1024, 1024)
