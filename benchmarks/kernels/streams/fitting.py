"""Fits the constants of elementwise kernels, norms and softmax, and predicts with them.

In: Measured. Out: the document that planner ships. Convention: NeuSight measured between two events
with an idle card, so that its times hold 10 to 60 us of the host, a constant for each card and kind
of operator, which is fitted too, added where NeuSight's rows are judged, and not used by planner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks.kernels.least_squares import Vector, fitted
from benchmarks.kernels.records import card_named
from benchmarks.kernels.streams.reading import CAST, ROWS, Measured
from planner.hardware.specs import GpuSpec
from planner.timing.measured.streams import (
    INSTRUCTIONS_PER_ELEMENT,
    Streams,
    moved_s,
    read_again,
    read_constants,
    share_of,
)
from planner.timing.rates import issue_rate, memory_rate

_FLOAT_BYTES = 4
_LARGE_S = 2e-5  # spreads are of kernels that take longer: begin and end are not in them


def fit(data: Sequence[Measured]) -> dict[str, Any]:
    """Returns the document that planner ships."""
    known = [one for one in data if not one.is_held_out]
    cards = list(dict.fromkeys(one.card for one in data))
    document: dict[str, Any] = {
        "cards": {card: _of_card(card_named(card)) for card in cards},
        "cache": {"reach": 0.5, "power": 4.0},
        "rows": {name: {"reach": 0.55, "power": 3.0} for name in ROWS},
        "spreads": {},
        "left_out": {},
        "host_us": {},
    }
    _fit_casts([one for one in known if one.kind == CAST], document)
    for name in ("elementwise", *ROWS):
        _fit_kind(name, [one for one in known if one.kind == name], document)
    for name in ("elementwise", *ROWS):
        document["spreads"][name] = document["left_out"][name] = 0.0
    found = read_constants(document)
    for name in ("elementwise", *ROWS):
        own = [one for one in known if one.name == name and one.seconds > _LARGE_S]
        document["spreads"][name] = _root(
            math.log(one.seconds / predicted_s(found, document, one)) for one in own
        )
        document["left_out"][name] = _root(
            math.log(one.seconds / predicted_s(found, document, one, without=one.card))
            for one in own
        )
    return document


def _of_card(card: GpuSpec) -> dict[str, Any]:
    assert card.compute_capability is not None
    return {
        "capability": list(card.compute_capability),
        "copy_share": round(memory_rate(card) / card.memory_bandwidth_bytes_per_s, 4),
        "shares": {},
    }


def _root(values: Iterator[float]) -> float:
    squares = sorted(value * value for value in values)
    kept = squares[: len(squares) - len(squares) // 50]
    return round(math.sqrt(float(np.mean(kept))), 3)


def _fit_casts(known: Sequence[Measured], document: dict[str, Any]) -> None:
    """Fits share, begin and end and L2 of each card, and how far L2 reaches on all of them."""
    cards = list(dict.fromkeys(one.card for one in known))
    groups = [[one for one in known if one.card == card] for card in cards]
    seconds = [np.array([one.seconds for one in group]) for group in groups]
    moved = [np.array([float(one.moved_bytes) for one in group]) for group in groups]
    specs = [card_named(card) for card in cards]

    def residuals(at: Vector) -> Vector:
        reach, power = np.exp(at[0]), np.exp(at[1])
        errors = []
        for number, spec in enumerate(specs):
            share, fixed_s, rate = np.exp(at[2 + 3 * number : 5 + 3 * number])
            memory = share * spec.memory_bandwidth_bytes_per_s
            clocks = spec.streaming_multiprocessors * spec.boost_clock_hz
            kept = 1 / (1 + (moved[number] / (reach * spec.l2_bytes)) ** power)
            rates = kept / np.maximum(rate * clocks, memory) + (1 - kept) / memory
            errors.append(np.log((fixed_s + moved[number] * rates) / seconds[number]))
        return np.concatenate(errors)

    size = len(cards)
    start = np.log(np.array([0.7, 4.0, *(0.85, 2e-6, 25.0) * size]))
    least = np.log(np.array([0.1, 1.0, *(0.3, 5e-7, 4.0) * size]))
    most = np.log(np.array([1.5, 12.0, *(1.0, 1e-5, 64.0) * size]))
    _, at = fitted(residuals, start, least, most)
    document["cache"] = {"reach": _exp(at[0]), "power": _exp(at[1])}
    for number, card in enumerate(cards):
        one = document["cards"][card]
        one["shares"]["elementwise"] = _exp(at[2 + 3 * number])
        one["fixed_us"] = round(math.exp(at[3 + 3 * number]) * 1e6, 2)
        one["cache_rate"] = _exp(at[4 + 3 * number])


def _exp(value: float) -> float:
    return round(math.exp(value), 4)


def _fit_kind(name: str, known: Sequence[Measured], document: dict[str, Any]) -> None:
    """Fits share and the host's time of each card, and for rows how far the cache reaches."""
    cards = list(dict.fromkeys(one.card for one in known))
    specs = {card: card_named(card) for card in cards}
    seconds = np.array([one.seconds for one in known])
    places = [cards.index(one.card) for one in known]
    number_of_rows = 2 if name in ROWS else 0

    def residuals(at: Vector) -> Vector:
        if number_of_rows:
            document["rows"][name] = {"reach": math.exp(at[0]), "power": math.exp(at[1])}
        found = read_constants(document)
        errors = []
        for one, place in zip(known, places, strict=True):
            share, host_s = np.exp(at[number_of_rows + 2 * place : number_of_rows + 2 * place + 2])
            again = _again(found, one, specs[one.card])
            busy_s = moved_s(found, specs[one.card], one.moved_bytes, again=again, share=share)
            errors.append(math.log(busy_s + host_s))
        return np.array(errors) - np.log(seconds)

    first = [0.6, 3.0][:number_of_rows]
    start = np.log(np.array([*first, *(0.8, 1.5e-5) * len(cards)]))
    least = np.log(np.array([*(0.1, 1.0)[:number_of_rows], *(0.2, 2e-6) * len(cards)]))
    most = np.log(np.array([*(2.0, 12.0)[:number_of_rows], *(1.0, 6e-5) * len(cards)]))
    _, at = fitted(residuals, start, least, most)
    if number_of_rows:
        document["rows"][name] = {"reach": _exp(at[0]), "power": _exp(at[1])}
    document["host_us"][name] = {}
    for place, card in enumerate(cards):
        share, host = at[number_of_rows + 2 * place : number_of_rows + 2 * place + 2]
        document["cards"][card]["shares"][name] = _exp(share)
        document["host_us"][name][card] = round(math.exp(host) * 1e6, 1)


def _again(found: Streams, one: Measured, card: GpuSpec) -> float:
    if one.kind not in ROWS:
        return 0.0
    row_bytes = _FLOAT_BYTES * one.columns
    return read_again(found, one.kind, card, columns=one.columns, row_bytes=row_bytes)


def predicted_s(
    found: Streams,
    document: Mapping[str, Any],
    one: Measured,
    *,
    without: str | None = None,
) -> float:
    """Returns the predicted seconds, with the host's where they were measured with it."""
    card = card_named(one.card)
    if without is not None:
        found = replace(
            found,
            fixed_s={name: value for name, value in found.fixed_s.items() if name != without},
            cache_rates={name: rate for name, rate in found.cache_rates.items() if name != without},
        )
    share, _, _ = share_of(found, card, one.name, without=without)
    busy_s = moved_s(found, card, one.moved_bytes, again=_again(found, one, card), share=share)
    issue_s = INSTRUCTIONS_PER_ELEMENT * one.moved_elements / issue_rate(card)
    if one.kind == CAST:
        fixed_s = found.fixed_s.get(card.id) or median(found.fixed_s.values())
    else:
        fixed_s = document["host_us"][one.kind][one.card] / 1e6
    return max(busy_s, issue_s) + fixed_s
