"""A graph convolution of torch_geometric that gathers a message for each edge."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch_geometric.nn import SimpleConv

NODES, EDGES, WIDTH = 1024, 1 << 18, 64


class Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(WIDTH, WIDTH, bias=False)
        self.conv = SimpleConv(aggr="sum")

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> Any:
        return self.conv(self.into(nodes[0]), edges[0])


def build_model() -> nn.Module:
    return Graph()


def build_batch(batch_size: int) -> dict[str, torch.Tensor]:
    return {
        "nodes": torch.zeros(batch_size, NODES, WIDTH),
        "edges": torch.zeros(batch_size, 2, EDGES, dtype=torch.long),
    }
