"""The same graph as one sparse CSR adjacency, as torch_geometric.transforms.ToSparseTensor gives it."""

import torch
from torch import nn
from torch.nn import functional as F

NODES, EDGES = 169_343, 2_315_598


class Net(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Linear(128, width),
            nn.Linear(width, width),
            nn.Linear(width, 40),
        )

    def forward(self, x, adjacency):
        x = F.relu(torch.sparse.mm(adjacency, self.a(x)))
        x = F.relu(torch.sparse.mm(adjacency, self.b(x)))
        return torch.sparse.mm(adjacency, self.c(x))


def build_model() -> nn.Module:
    return Net()


def build_batch(batch_size: int):
    rows = torch.arange(NODES + 1, dtype=torch.long) * EDGES // NODES
    adjacency = torch.sparse_csr_tensor(
        rows, torch.randint(0, NODES, (EDGES,)), torch.ones(EDGES), (NODES, NODES)
    )
    return torch.randn(NODES, 128), adjacency, torch.zeros(NODES, dtype=torch.long)


def training_step(model, batch):
    x, adjacency, y = batch
    return F.cross_entropy(model(x, adjacency), y)
