"""Judges the nets of products: on held-out shapes, and on cards left out.

In: Tables, the constants as in products.json. Out: Figures. Convention: `before` is the greater of
tiles at the full rate and bytes at the full bandwidth, as products were timed without tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.kernels.products.fitting import Schedule, fitted, forms, part_of
from benchmarks.kernels.products.reading import Table, held_out, read_single, read_tensor_cores
from benchmarks.kernels.records import Figure, JudgedBy, figure, spread
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
    HALF: Schedule(epochs=30, batch=2048),
    NARROW: Schedule(epochs=20, batch=2048),
    SINGLE: Schedule(epochs=60, batch=256),
}
_WITHOUT = {
    HALF: Schedule(epochs=10, batch=2048, share=0.35),
    NARROW: Schedule(epochs=10, batch=2048, share=0.25),
    SINGLE: Schedule(epochs=30, batch=256),
}
Tables = Mapping[str, tuple[Table, ...]]


def read() -> Tables:
    """Reads all tables of products, by net. Raises MissingTablesError."""
    of_tensor_cores = read_tensor_cores()
    return {HALF: of_tensor_cores[False], NARROW: of_tensor_cores[True], SINGLE: read_single()}


def fit(tables: Tables) -> dict[str, Any]:
    """Fits all nets, with the spreads of held-out shapes and of cards left out."""
    document = {}
    for name, own in tables.items():
        one = fitted(own, _forms(own), _WHOLE[name])
        spreads = _spreads(name, own, one)
        document[name] = {**one, "spreads": spreads}
    return document


def judge(tables: Tables, document: Mapping[str, Any]) -> Iterator[Figure]:
    """Judges all nets."""
    for name, own in tables.items():
        net = read_nets({name: document[name]})[name]
        for table in own:
            yield from _judged(net, table, JudgedBy.HELD_OUT, whole=False)
        for table in own:
            without = _without(name, own, table.card.id)
            yield from _judged(without, table, JudgedBy.LEFT_OUT, whole=name == SINGLE)


_KNOWN: dict[int, list[list[Form]]] = {}


def _forms(tables: tuple[Table, ...]) -> list[list[Form]]:
    """Returns the forms of all tables; keeps them, by identity."""
    if id(tables) not in _KNOWN:
        _KNOWN[id(tables)] = [forms(one) for one in tables]
    return _KNOWN[id(tables)]


_LEFT_OUT: dict[tuple[int, str], Net] = {}


def _without(name: str, tables: tuple[Table, ...], card: str) -> Net:
    """Returns a net that is fitted without a card; keeps it."""
    key = (id(tables), card)
    if key not in _LEFT_OUT:
        one = fitted(tables, _forms(tables), _WITHOUT[name], left_out=(card,))
        one["spreads"] = dict.fromkeys(one["tokens"], 0.0)
        _LEFT_OUT[key] = read_nets({name: one})[name]
    return _LEFT_OUT[key]


def _judged(net: Net, table: Table, judged_by: JudgedBy, *, whole: bool) -> Iterator[Figure]:
    """Yields the figures of a table's held-out shapes, or of all of them."""
    judged = [
        (product, seconds)
        for product, seconds in zip(table.products, table.seconds, strict=True)
        if whole or held_out(product)
    ]
    before = [abs(_before_s(one, table) / seconds - 1) for one, seconds in judged]
    found = figure(
        [(_predicted_s(net, one, table), seconds) for one, seconds in judged],
        kind=NAME,
        part=table.part,
        card=table.card.id,
        judged_by=judged_by,
        before=median(before) if before else None,
    )
    if found is not None:
        yield found


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
        for product, seconds in zip(table.products, table.seconds, strict=True):
            if held_out(product):
                pairs = ((f"{table.card.id} {part}", net), (f"{ANY} {part}", without))
                for token, one in pairs:
                    error = math.log(seconds / _predicted_s(one, product, table))
                    known.setdefault(token, []).append(error)
    return {token: round(spread(errors), 3) for token, errors in known.items()}
