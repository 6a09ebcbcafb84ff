"""Full-batch GCN on a graph like ogbn-arxiv: 169343 nodes, 2315598 edges, three layers of 256."""

import torch
from torch import nn
from torch.nn import functional as F
from torch_geometric.nn import GCNConv, SAGEConv

NODES, EDGES = 169_343, 2_315_598


class Net(nn.Module):
    def __init__(self, kind, width=256, layers=3):
        super().__init__()
        sizes = [128] + [width] * (layers - 1) + [40]
        make = GCNConv if kind == "gcn" else SAGEConv
        self.convs = nn.ModuleList(make(a, b) for a, b in zip(sizes, sizes[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(s) for s in sizes[1:-1])

    def forward(self, x, edges):
        for conv, norm in zip(self.convs, self.norms):
            x = F.dropout(F.relu(norm(conv(x, edges))), 0.5, self.training)
        return self.convs[-1](x, edges)


def build_model(kind: str = "gcn") -> nn.Module:
    return Net(kind)


def build_batch(batch_size: int):
    return (
        torch.randn(NODES, 128),
        torch.randint(0, NODES, (2, EDGES)),
        torch.zeros(NODES, dtype=torch.long),
    )


def training_step(model, batch):
    x, edges, y = batch
    train = torch.arange(NODES * 537 // 1000, device=x.device)
    return F.cross_entropy(model(x, edges)[train], y[train])


def build_optimizer(parameters):
    return torch.optim.Adam(parameters, lr=0.01)
