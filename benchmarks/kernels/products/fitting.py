"""Fits a net of products to Tables, with torch.

In: Tables, the cards to leave out. Out: a net as in products.json. Convention: the loss is of the
logarithm of measured over the time of the roofs; a part of the rows is seen with the token of a
card without a table, which so becomes the best for all cards at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.kernels.products.reading import Table, held_out
from planner.timing.measured.product_form import Form
from planner.timing.measured.products import ANY, form_in, scaled_s

TOKEN = 3  # numbers that set a card and precision apart
_UNITS = (32, 24)
_AS_ANY = 0.2  # share of the rows that are seen as of a card without a table
_SMALL_ERROR = 0.05  # below, errors count by their squares
_RATE = 4e-3
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long a net is fitted."""

    epochs: int
    """Passes over the rows."""
    batch: int
    """Rows of a step."""
    share: float = 1.0
    """Of the rows, drawn at random."""


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


def part_of(table: Table) -> str:
    """Returns the part of a table's token: batched products share that of single ones."""
    return table.part.removesuffix(" batched")


def forms(table: Table) -> list[Form]:
    """Returns the form of each product of a table."""
    return [form_in(one, table.dtype, table.card, table.rate) for one in table.products]


def fitted(
    tables: Sequence[Table],
    known: Sequence[list[Form]],
    schedule: Schedule,
    *,
    is_after_begin: bool,
    left_out: Collection[str] = (),
) -> dict[str, Any]:
    """Fits a net on the shapes that are not held out, of cards that are not left out.

    `is_after_begin`: the net's factor is of the roofs alone, and begin and end are added: for
    tables without short kernels, whose factor must not multiply begin and end of short ones.
    `known` are the forms of the tables, in their order. The spreads are not in the result.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names: dict[str, int] = {}
    rows: list[tuple[float, ...]] = []
    targets: list[float] = []
    tokens: list[tuple[int, int]] = []
    cards: dict[str, Table] = {}
    for table, own in zip(tables, known, strict=True):
        if table.card.id in left_out:
            continue
        part = part_of(table)
        name = f"{table.card.id} {part}"
        cards[name] = table
        pair = tuple(names.setdefault(one, len(names)) for one in (name, f"{ANY} {part}"))
        for product, form, seconds in zip(table.products, own, table.seconds, strict=True):
            if not held_out(product):
                rows.append(form.features)
                after = seconds - form.begin_end_s if is_after_begin else seconds
                targets.append(math.log(after / scaled_s(form, is_after_begin)))
                tokens.append((pair[0], pair[1]))
    features = torch.tensor(rows)
    model = _trained(features, torch.tensor(targets), torch.tensor(tokens), len(names), schedule)
    values = {name: model.tokens[at].tolist() for name, at in names.items()}
    return {
        "low": _rounded(features.amin(0).tolist()),
        "high": _rounded(features.amax(0).tolist()),
        "layers": [
            [
                _rounded([*weights, bias])
                for weights, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            ]
            for layer in model.layers
        ],
        "tokens": {
            name: _rounded(one) for name, one in {**values, **_related(values, cards)}.items()
        },
        "is_after_begin": is_after_begin,
        "spreads": {},
    }


def _trained(
    features: Tensor, targets: Tensor, tokens: Tensor, number: int, schedule: Schedule
) -> _Model:
    model = _Model(features.shape[1], number)
    if schedule.share < 1:
        taken = torch.rand(len(targets)) < schedule.share
        features, targets, tokens = features[taken], targets[taken], tokens[taken]
    rows = len(targets)
    steps = schedule.epochs * math.ceil(rows / schedule.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    for _ in range(schedule.epochs):
        for taken in torch.split(torch.randperm(rows), schedule.batch):
            own, common = tokens[taken].unbind(1)
            seen = torch.where(torch.rand(len(taken)) < _AS_ANY, common, own)
            found = model(features[taken], seen)
            loss = nn.functional.smooth_l1_loss(found, targets[taken], beta=_SMALL_ERROR)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # as torch has it
            optimizer.step()
            pace.step()
    return model


def _related(values: dict[str, list[float]], cards: dict[str, Table]) -> dict[str, list[float]]:
    """Returns the tokens of compute capabilities: the means of those of their cards."""
    groups: dict[str, list[list[float]]] = {}
    for name, table in cards.items():
        assert table.card.compute_capability is not None
        key = "{}.{} {}".format(*table.card.compute_capability, part_of(table))
        groups.setdefault(key, []).append(values[name])
    return {
        key: [sum(column) / len(group) for column in zip(*group, strict=True)]
        for key, group in groups.items()
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, _DIGITS) for value in values]
