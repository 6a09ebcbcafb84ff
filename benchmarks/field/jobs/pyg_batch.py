"""Graph classification as the torch_geometric tutorial has it: build_batch returns a Batch of 30-node graphs."""

import torch
from torch import nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GINConv, global_add_pool


class Gin(nn.Module):
    def __init__(self, width: int = 128, layers: int = 5) -> None:
        super().__init__()
        sizes = [32] + [width] * layers
        self.convs = nn.ModuleList(
            GINConv(
                nn.Sequential(
                    nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Linear(b, b), nn.ReLU()
                )
            )
            for a, b in zip(sizes, sizes[1:])
        )
        self.out = nn.Linear(width, 2)

    def forward(self, data):
        x = data.x
        for conv in self.convs:
            x = conv(x, data.edge_index)
        return self.out(global_add_pool(x, data.batch))


def build_model() -> nn.Module:
    return Gin()


def build_batch(batch_size: int):
    one = [
        Data(
            x=torch.randn(30, 32),
            edge_index=torch.randint(0, 30, (2, 120)),
            y=torch.zeros(1, dtype=torch.long),
        )
        for _ in range(batch_size)
    ]
    return Batch.from_data_list(one)


def training_step(model, batch):
    return F.cross_entropy(model(batch), batch.y)
