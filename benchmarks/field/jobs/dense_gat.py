"""A dense graph attention network on 10242 nodes: 8 heads of 8, every pair of nodes in one tensor."""

import torch
from torch import nn
from torch.nn import functional as F

NODES = 10242


class Head(nn.Module):
    def __init__(self, features: int, out: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.W = nn.Parameter(torch.empty(features, out))
        self.a = nn.Parameter(torch.empty(2 * out, 1))
        nn.init.xavier_uniform_(self.W, gain=1.414)
        nn.init.xavier_uniform_(self.a, gain=1.414)

    def forward(self, x, adjacency):
        h = x @ self.W
        n = h.shape[0]
        pairs = torch.cat([h.repeat(1, n).view(n * n, -1), h.repeat(n, 1)], dim=1).view(
            n, -1, 2 * h.shape[1]
        )
        e = F.leaky_relu(torch.matmul(pairs, self.a).squeeze(2), 0.2)
        attention = torch.where(adjacency > 0, e, -9e15 * torch.ones_like(e))
        attention = F.dropout(F.softmax(attention, dim=1), 0.6, self.training)
        out = attention @ h
        return out if self.last else F.elu(out)


class Gat(nn.Module):
    def __init__(self, features: int = 500, classes: int = 3) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(features, 8, False) for _ in range(8))
        self.out = Head(64, classes, True)

    def forward(self, x, adjacency):
        x = F.dropout(x, 0.6, self.training)
        x = torch.cat([head(x, adjacency) for head in self.heads], dim=1)
        return F.log_softmax(F.elu(self.out(F.dropout(x, 0.6, self.training), adjacency)), dim=1)


def build_model() -> nn.Module:
    return Gat()


def build_batch(batch_size: int):
    return torch.rand(NODES, 500), torch.ones(NODES, NODES), torch.zeros(NODES, dtype=torch.long)


def training_step(model, batch):
    x, adjacency, labels = batch
    return F.nll_loss(model(x, adjacency), labels)


def build_optimizer(parameters):
    return torch.optim.Adam(parameters, lr=0.005, weight_decay=5e-4)
