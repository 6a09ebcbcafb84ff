"""Trains the net of products, with torch.

In: features, targets and tokens of rows. Out: Weights. Convention: each row has two tokens, its own
and that of a card without a table, which it is seen with now and then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

TOKEN = 3  # numbers that set a card and precision apart
_UNITS = (32, 24)
_AS_ANY = 0.2  # share of the rows that are seen as of a card without a table
_SMALL_ERROR = 0.05  # below, errors count by their squares
_RATE = 4e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A trained net."""

    layers: list[list[list[float]]]
    """For each layer and unit, the weights and then the bias."""
    tokens: list[list[float]]
    """The numbers of each token."""


class _Model(nn.Module):
    def __init__(self, features: int, tokens: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(tokens, TOKEN) * 0.1)
        sizes = (features + TOKEN, *_UNITS, 1)
        self.layers = [nn.Linear(before, after) for before, after in pairwise(sizes)]
        self.registered = nn.ModuleList(self.layers)  # a list's parameters are none of a module's

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        values = torch.cat([features, self.tokens[tokens]], 1)
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        found: Tensor = self.layers[-1](values)
        return found.squeeze(1)


def trained(
    rows: Sequence[tuple[float, ...]],
    logarithms: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    *,
    epochs: int,
    batch: int,
    share: float,
) -> Weights:
    """Trains a net to give `logarithms` of rows of features; always from the same seed."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    features, targets, tokens = (torch.tensor(one) for one in (rows, logarithms, pairs))
    model = _Model(features.shape[1], int(tokens.max()) + 1)
    if share < 1:
        taken = torch.rand(len(targets)) < share
        features, targets, tokens = features[taken], targets[taken], tokens[taken]
    number = len(targets)
    steps = epochs * math.ceil(number / batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for taken in torch.split(torch.randperm(number), batch):
            own, common = tokens[taken].unbind(1)
            seen = torch.where(torch.rand(len(taken)) < _AS_ANY, common, own)
            found = model(features[taken], seen)
            loss = nn.functional.smooth_l1_loss(found, targets[taken], beta=_SMALL_ERROR)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # as torch has it
            optimizer.step()
            pace.step()
    return Weights(
        layers=[
            [
                [*weights, bias]
                for weights, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            ]
            for layer in model.layers
        ],
        tokens=model.tokens.tolist(),
    )
