"""Elementwise kernels, casts, norms and softmax: reads their tables, fits and judges.

In: NeuSight's vec, ln and softmax (float32); aiconfigurator-core's scale_matrix (half precision to
fp8 by one factor, an elementwise kernel). Out: a Kind. Convention: NeuSight measured between two
events with an idle card, so that its times hold 10 to 40 us of the host, a constant for each card
and kind of operator, which is fitted too, added where NeuSight's rows are judged, and not shipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks.kernels import aiconfigurator, neusight
from benchmarks.kernels.least_squares import Vector, fitted
from benchmarks.kernels.records import Figure, JudgedBy, Kind, figure, is_held_out
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.timing.efficiency import efficiencies
from planner.timing.measured.streams import (
    FILE,
    INSTRUCTIONS_PER_ELEMENT,
    Streams,
    moved_s,
    read_again,
    read_constants,
    share_of,
)
from planner.timing.rates import issue_rate, memory_rate

NAME = "streams"
_BINARY = ("add", "sub", "mul", "div", "pow")  # of two tensors; with a "u" of one and a number
_ROWS = ("norm", "softmax")
_CAST = "cast"
_CAST_ENGINES = ("trtllm", "vllm")  # SGLang's takes ten times as long: not elementwise
_LARGE_S = 2e-5  # spreads are of kernels that take longer: begin and end are not in them
_CAST_BYTES, _FLOAT_BYTES = 3, 4
_PARTS = {
    "elementwise": "elementwise, float32",
    _CAST: "elementwise, half precision",
    "norm": "layer norm, float32",
    "softmax": "softmax, float32",
}
_KEYS = {
    "elementwise": "elementwise",
    _CAST: "cast",
    "norm": "layer or group norm, forward",
    "softmax": "softmax, forward",
}
_INSTRUCTIONS_BEFORE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured kernel."""

    kind: str
    """A key of _PARTS."""
    card: str
    operator: str
    rows: int
    columns: int
    moved_bytes: int
    moved_elements: int
    seconds: float

    @property
    def is_held_out(self) -> bool:
        """Returns whether it judges."""
        return is_held_out(NAME, self.operator, self.rows, self.columns)

    @property
    def name(self) -> str:
        """Returns the kind in the constants."""
        return "elementwise" if self.kind == _CAST else self.kind


def read() -> list[Measured]:
    """Reads all tables."""
    return [*_neusight(), *_casts()]


def _neusight() -> Iterator[Measured]:
    for file, kind in (("vec", "elementwise"), ("ln", "norm"), ("softmax", "softmax")):
        for row in neusight.rows(neusight.FOLDER / f"{file}.csv.gz"):
            operator = row["op"]
            if kind == "elementwise" and operator in ("ln", "softmax"):
                continue  # in files of their own
            count, columns = int(row["B"]), int(row["H"])
            tensors = 3 if operator in _BINARY else 2
            yield Measured(
                kind=kind,
                card=row["card"],
                operator=operator,
                rows=count,
                columns=columns,
                moved_bytes=_FLOAT_BYTES * tensors * count * columns,
                moved_elements=tensors * count * columns,
                seconds=float(row["measured_s"]),
            )


def _casts() -> Iterator[Measured]:
    """Yields casts to fp8, each by the faster of the engines."""
    for folder, card in aiconfigurator.CARDS.items():
        fastest: dict[tuple[int, int], float] = {}
        for table in aiconfigurator.tables(folder, "quantize", "scale_matrix_perf"):
            if table.engine not in _CAST_ENGINES:
                continue
            columns = table.columns
            shapes = zip(columns["m"], columns["k"], columns["latency"], strict=True)
            for rows, width, milliseconds in shapes:
                if milliseconds > 0:
                    before = fastest.get((rows, width), math.inf)
                    fastest[rows, width] = min(before, milliseconds / 1e3)
        for (rows, width), seconds in fastest.items():
            yield Measured(
                kind=_CAST,
                card=card,
                operator=_CAST,
                rows=rows,
                columns=width,
                moved_bytes=_CAST_BYTES * rows * width,
                moved_elements=2 * rows * width,
                seconds=seconds,
            )


def fit(data: Sequence[Measured]) -> dict[str, Any]:
    """Returns the document that planner ships."""
    known = [one for one in data if not one.is_held_out]
    cards = list(dict.fromkeys(one.card for one in data))
    document: dict[str, Any] = {
        "cards": {card: _of_card(_card(card)) for card in cards},
        "cache": {"reach": 0.5, "power": 4.0},
        "rows": {name: {"reach": 0.55, "power": 3.0} for name in _ROWS},
        "spreads": {},
        "left_out": {},
        "host_us": {},
    }
    _fit_casts([one for one in known if one.kind == _CAST], document)
    for name in ("elementwise", *_ROWS):
        _fit_kind(name, [one for one in known if one.kind == name], document)
    for name in ("elementwise", *_ROWS):
        document["spreads"][name] = document["left_out"][name] = 0.0
    found = read_constants(document)
    for name in ("elementwise", *_ROWS):
        own = [one for one in known if one.name == name and one.seconds > _LARGE_S]
        document["spreads"][name] = _root(
            math.log(one.seconds / _seconds(found, document, one)) for one in own
        )
        document["left_out"][name] = _root(
            math.log(one.seconds / _seconds(found, document, one, without=one.card)) for one in own
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
    specs = [_card(card) for card in cards]

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
    specs = {card: _card(card) for card in cards}
    seconds = np.array([one.seconds for one in known])
    places = [cards.index(one.card) for one in known]
    number_of_rows = 2 if name in _ROWS else 0

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
    if one.kind not in _ROWS:
        return 0.0
    row_bytes = _FLOAT_BYTES * one.columns
    return read_again(found, one.kind, card, columns=one.columns, row_bytes=row_bytes)


_CARDS: dict[str, GpuSpec] = {}


def _card(name: str) -> GpuSpec:
    if name not in _CARDS:
        _CARDS[name] = load_gpus().find(name).spec
    return _CARDS[name]


def _seconds(
    found: Streams,
    document: Mapping[str, Any],
    one: Measured,
    *,
    without: str | None = None,
) -> float:
    """Returns the predicted seconds, with the host's where they were measured with it."""
    card = _card(one.card)
    if without is not None:
        found = replace(
            found,
            fixed_s={name: value for name, value in found.fixed_s.items() if name != without},
            cache_rates={name: rate for name, rate in found.cache_rates.items() if name != without},
        )
    share, _, _ = share_of(found, card, one.name, without=without)
    busy_s = moved_s(found, card, one.moved_bytes, again=_again(found, one, card), share=share)
    issue_s = INSTRUCTIONS_PER_ELEMENT * one.moved_elements / issue_rate(card)
    if one.kind == _CAST:
        fixed_s = found.fixed_s.get(card.id) or median(found.fixed_s.values())
    else:
        fixed_s = document["host_us"][one.kind][one.card] / 1e6
    return max(busy_s, issue_s) + fixed_s


def judge(data: Sequence[Measured], constants: Mapping[str, Any]) -> Iterator[Figure]:
    """Yields the figures of each card and kind, and of all cards."""
    found = read_constants(constants)
    for kind, part in _PARTS.items():
        own = [one for one in data if one.kind == kind]
        judging = [one for one in own if one.is_held_out]
        for card in dict.fromkeys(one.card for one in own):
            of_card = [one for one in judging if one.card == card]
            yield from _figures(
                part,
                card,
                JudgedBy.HELD_OUT,
                [(_seconds(found, constants, one), one.seconds) for one in of_card],
                [abs(_before_s(one, constants) / one.seconds - 1) for one in of_card],
            )
            yield from _figures(
                part,
                card,
                JudgedBy.LEFT_OUT,
                [
                    (_seconds(found, constants, one, without=card), one.seconds)
                    for one in own
                    if one.card == card
                ],
            )
        everything = [(_seconds(found, constants, one), one.seconds) for one in judging]
        yield from _figures(part, "all", JudgedBy.HELD_OUT, everything)


def _figures(
    part: str,
    card: str,
    judged_by: JudgedBy,
    pairs: Sequence[tuple[float, float]],
    before: Sequence[float] = (),
) -> Iterator[Figure]:
    found = figure(
        pairs,
        kind=NAME,
        part=part,
        card=card,
        judged_by=judged_by,
        before=median(before) if before else None,
    )
    if found is not None:
        yield found


def _before_s(one: Measured, document: Mapping[str, Any]) -> float:
    """Returns the seconds by one share of each roof and 30 instructions an element."""
    card, found = _card(one.card), efficiencies()
    compute_s, memory_s = found.roofs_s(
        _KEYS[one.kind],
        _INSTRUCTIONS_BEFORE * one.moved_elements / issue_rate(card),
        found.cached_s(
            one.moved_bytes, bandwidth_bytes_per_s=memory_rate(card), l2_bytes=card.l2_bytes
        ),
    )
    host_s = 0.0 if one.kind == _CAST else document["host_us"][one.kind][one.card] / 1e6
    return math.hypot(compute_s, memory_s) + max(found.kernel_s, host_s)


STREAMS: Kind[list[Measured]] = Kind(
    name=NAME,
    title="Elementwise kernels, norms and softmax",
    file=FILE,
    read=read,
    fit=fit,
    judge=judge,
    notes="""
float32: NeuSight's elementwise operators (one or two tensors), layer norm and softmax over rows of
768 to 16,384, 50 MB to 69 GB. They were measured between two events on an idle card: each time
holds what the host takes to issue the operator, 10 to 60 us, which is fitted by card and operator
(`host_us` in streams.json), added here, and not used by planner. Half precision: a scale of
bfloat16 to fp8 by one factor (aiconfigurator-core's scale_matrix, the faster of TensorRT-LLM's and
vLLM's), in CUDA graphs, 96 bytes to 6 GB. It gives the time of begin and end and the rate of L2,
and shows that half precision is not bound by instructions: 16 at most for an element that is read
and written, on a B200. A B200 moves 50 to 400 MB at 0.54 of its bandwidth by one of the kernels and
at 0.75 by the other; which of them torch's are like is not known.

A row of a norm is read twice, a row of softmax over 1,024 three times; what the rows at work take
of L2 decides how much of that is read from memory. torch 2.14 keeps rows of softmax up to 48 KiB in
shared memory (`cunn_SoftMaxForwardSmem`), which the torch 2.1 of the tables did not: planner counts
one read of them. The backward of a norm is in no table and stays with the fit of steps; that of
softmax follows from its forward. Cards without a table: what the measured ones reach of their
copies, in the median.
""",
)
