"""A two-tower recommender: 10 M users and 5 M items of 64 floats, sparse gradients."""

import torch
from torch import nn
from torch.nn import functional as F


class Towers(nn.Module):
    def __init__(self, users=10_000_000, items=5_000_000, width=64, sparse=True):
        super().__init__()
        self.users = nn.Embedding(users, width, sparse=sparse)
        self.items = nn.EmbeddingBag(items, width, sparse=sparse, mode="sum")

    def forward(self, user, items):
        return (self.users(user) * self.items(items)).sum(-1)


def build_model(sparse: bool = True) -> nn.Module:
    return Towers(sparse=sparse)


def build_batch(batch_size: int):
    return (
        torch.randint(0, 10_000_000, (batch_size,)),
        torch.randint(0, 5_000_000, (batch_size, 20)),
        torch.ones(batch_size),
    )


def training_step(model, batch):
    user, items, label = batch
    return F.binary_cross_entropy_with_logits(model(user, items), label)


def build_optimizer(parameters):
    parameters = list(parameters)
    return torch.optim.SparseAdam(parameters, lr=1e-3)
