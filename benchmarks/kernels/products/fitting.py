"""Fits a net of products to Tables.

In: Tables, the cards to leave out. Out: a net as in products.json. Convention: the loss is of the
logarithm of measured over the time of the roofs; a part of the rows is seen with the token of a
card without a table, which so becomes the best for all cards at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.kernels.products.reading import Table, held_out
from planner.timing.measured.product_form import Form
from planner.timing.measured.products import ANY, form_in, scaled_s

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
    from benchmarks.kernels.products.training import trained  # torch: for a fit alone

    weights = trained(
        rows,
        targets,
        tokens,
        epochs=schedule.epochs,
        batch=schedule.batch,
        share=schedule.share,
    )
    values = {name: weights.tokens[at] for name, at in names.items()}
    columns = list(zip(*rows, strict=True))
    return {
        "low": _rounded([min(column) for column in columns]),
        "high": _rounded([max(column) for column in columns]),
        "layers": [[_rounded(unit) for unit in layer] for layer in weights.layers],
        "tokens": {
            name: _rounded(one) for name, one in {**values, **_related(values, cards)}.items()
        },
        "is_after_begin": is_after_begin,
        "spreads": {},
    }


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
