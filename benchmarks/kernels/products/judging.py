"""Judges the nets of products: on held-out shapes, and on cards left out.

In: Tables, the constants as in products.json. Out: Figures. Convention: `before` is the greater of
tiles at the full rate and bytes at the full bandwidth, as products were timed without tables.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from benchmarks.kernels.products.fitting import Schedule, fitted, forms, part_of
from benchmarks.kernels.products.reading import Table, held_out, read_single, read_tensor_cores
from benchmarks.kernels.records import Figure, JudgedBy, figures, spread
from planner.timing.kernels import Product
from planner.timing.measured.product_form import Form, moved_bytes
from planner.timing.measured.products import (
    ANY,
    HALF,
    NARROW,
    SINGLE,
    WIDTHS,
    Net,
    read_nets,
    time_by,
)
from planner.timing.rates import memory_rate
from planner.timing.tiling import product_s

NAME = "products"
_WHOLE = {
    HALF: Schedule(epochs=24, batch=2048),
    NARROW: Schedule(epochs=12, batch=2048),
    SINGLE: Schedule(epochs=40, batch=256),
}
_WITHOUT = {
    HALF: Schedule(epochs=10, batch=2048, share=0.3),
    NARROW: Schedule(epochs=10, batch=2048, share=0.15),
    SINGLE: Schedule(epochs=20, batch=256),
}
_MOST = 2000  # shapes of a table that a card left out is judged on, and that give a spread
Tables = Mapping[str, tuple[Table, ...]]


def read() -> Tables:
    """Reads all tables of products, by net. Raises MissingTablesError."""
    of_tensor_cores = read_tensor_cores()
    return {HALF: of_tensor_cores[False], NARROW: of_tensor_cores[True], SINGLE: read_single()}


def fit(tables: Tables) -> dict[str, Any]:
    """Fits all nets, with the spreads of held-out shapes and of cards left out."""
    document = {}
    for name, own in tables.items():
        one = fitted(own, _forms(own), _WHOLE[name], is_after_begin=name == SINGLE)
        print(f"{name}: fitted", file=sys.stderr, flush=True)
        spreads = _spreads(name, own, one)
        document[name] = {**one, "spreads": spreads, "rates": rates(own)}
    return document


def judge(tables: Tables, document: Mapping[str, Any]) -> Iterator[Figure]:
    """Judges all nets."""
    for name, own in tables.items():
        net = read_nets({name: document[name]})[name]
        for table in own:
            yield from _judged(net, table, JudgedBy.HELD_OUT)
        for table in own:
            without = _without(name, own, table.card.id)
            yield from _judged(without, table, JudgedBy.LEFT_OUT)


def rates(tables: Iterable[Table]) -> dict[str, list[float]]:
    """Returns the rates that a net is fitted over, by token: TFLOP/s and GB/s.

    With other rates in the database of cards the net has to be fitted anew.
    """
    return {
        f"{one.card.id} {part_of(one)}": [
            round(one.rate.flops_per_s / 1e12, 2),
            round(memory_rate(one.card) / 1e9, 1),
        ]
        for one in tables
    }


@cache
def _forms(tables: tuple[Table, ...]) -> list[list[Form]]:
    return [forms(one) for one in tables]


@cache
def _without(name: str, tables: tuple[Table, ...], card: str) -> Net:
    """Returns a net that is fitted without a card."""
    one = fitted(
        tables, _forms(tables), _WITHOUT[name], is_after_begin=name == SINGLE, left_out=(card,)
    )
    print(f"{name}: fitted without {card}", file=sys.stderr, flush=True)
    one["spreads"] = dict.fromkeys(one["tokens"], 0.0)
    return read_nets({name: one})[name]


def _judged(net: Net, table: Table, judged_by: JudgedBy) -> Iterator[Figure]:
    """Yields the figures of a table's held-out shapes, or of a part of them."""
    judged = _apart(table, None if judged_by is JudgedBy.HELD_OUT else _MOST)
    before = [abs(_before_s(one, table) / seconds - 1) for one, seconds in judged]
    pairs = [(_predicted_s(net, one, table), seconds) for one, seconds in judged]
    yield from figures(NAME, table.part, table.card.id, judged_by, pairs, before)


def _apart(table: Table, most: int | None) -> list[tuple[Product, float]]:
    """Returns held-out shapes with their seconds; of more than `most`, some at equal distances."""
    pairs = zip(table.products, table.seconds, strict=True)
    found = [one for one in pairs if held_out(one[0])]
    return found if most is None else found[:: max(1, len(found) // most)]


def _predicted_s(net: Net, product: Product, table: Table) -> float:
    return time_by(net, product, table.dtype, table.card, rate=table.rate).total_s


def _before_s(product: Product, table: Table) -> float:
    cores = table.card.streaming_multiprocessors
    moved = moved_bytes(product, *WIDTHS[table.dtype])
    return max(product_s(product, table.rate.flops_per_s, cores), moved / memory_rate(table.card))


def _spreads(name: str, tables: tuple[Table, ...], document: dict[str, Any]) -> dict[str, float]:
    """Returns the spread of each token: of held-out shapes; of cards left out for ANY's."""
    known: dict[str, list[float]] = {}
    net = read_nets({name: {**document, "spreads": dict.fromkeys(document["tokens"], 0.0)}})[name]
    for table in tables:
        part = part_of(table)
        without = _without(name, tables, table.card.id)
        for token, one in ((f"{table.card.id} {part}", net), (f"{ANY} {part}", without)):
            known.setdefault(token, []).extend(
                math.log(seconds / _predicted_s(one, product, table))
                for product, seconds in _apart(table, _MOST)
            )
    return {token: round(spread(errors), 3) for token, errors in known.items()}
