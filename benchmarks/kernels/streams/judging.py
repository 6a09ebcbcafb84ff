"""Judges elementwise kernels, norms and softmax: held-out shapes, and each card left out.

In: Measured, the document. Out: Figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.kernels.records import Figure, JudgedBy, card_named, figures
from benchmarks.kernels.streams.fitting import predicted_s
from benchmarks.kernels.streams.reading import CAST, NAME, Measured
from planner.timing.efficiency import efficiencies
from planner.timing.measured.streams import read_constants
from planner.timing.rates import issue_rate, memory_rate

_PARTS = {
    "elementwise": "elementwise, float32",
    CAST: "elementwise, half precision",
    "norm": "layer norm, float32",
    "softmax": "softmax, float32",
}
_KEYS = {
    "elementwise": "elementwise",
    CAST: "cast",
    "norm": "layer or group norm, forward",
    "softmax": "softmax, forward",
}
_INSTRUCTIONS_BEFORE = 30
_figures = partial(figures, NAME)


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
                [(predicted_s(found, constants, one), one.seconds) for one in of_card],
                [abs(_before_s(one, constants) / one.seconds - 1) for one in of_card],
            )
            yield from _figures(
                part,
                card,
                JudgedBy.LEFT_OUT,
                [
                    (predicted_s(found, constants, one, without=card), one.seconds)
                    for one in own
                    if one.card == card
                ],
            )
        everything = [(predicted_s(found, constants, one), one.seconds) for one in judging]
        yield from _figures(part, "all", JudgedBy.HELD_OUT, everything)


def _before_s(one: Measured, document: Mapping[str, Any]) -> float:
    """Returns the seconds by one share of each roof and 30 instructions an element."""
    card, found = card_named(one.card), efficiencies()
    compute_s, memory_s = found.roofs_s(
        _KEYS[one.kind],
        _INSTRUCTIONS_BEFORE * one.moved_elements / issue_rate(card),
        found.cached_s(
            one.moved_bytes, bandwidth_bytes_per_s=memory_rate(card), l2_bytes=card.l2_bytes
        ),
    )
    host_s = 0.0 if one.kind == CAST else document["host_us"][one.kind][one.card] / 1e6
    return math.hypot(compute_s, memory_s) + max(found.kernel_s, host_s)
