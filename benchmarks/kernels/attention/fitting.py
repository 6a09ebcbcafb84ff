"""Fits the form of attention's time, and follows from what was measured to what was not.

In: Measured. Out: the document that planner ships. Convention: the formula is
planner/timing/measured/attention_form.py's, on arrays; a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.kernels.aiconfigurator import CARDS
from benchmarks.kernels.attention.published import torch_on_hopper
from benchmarks.kernels.attention.reading import WIDTHS, Call, Key, Measured
from benchmarks.kernels.least_squares import Vector, fitted
from benchmarks.kernels.records import card_named
from planner.hardware.specs import GpuSpec
from planner.timing.measured.attention import call_s
from planner.timing.measured.attention_form import Form, Work, busy_s
from planner.timing.measured.attention_tables import Tables, choose, read_tables
from planner.timing.rates import Rate, arithmetic_rate

_MAIN_WIDTHS = (64, 128, 192, 256)
_BASE = 64  # the width that both masks were measured with
_TILES = (64, 128, 256)
_MOST_ROWS = 2500  # of one fit
_DERIVED_SPREAD = 0.15  # more, of what follows from another width or mask
_MOST_SHARE = 0.95
# Logarithms of share, first keys, fixed seconds, lone, bandwidth, power - 1; wave is as it is.
_START = np.array([math.log(0.5), math.log(100), math.log(5e-6), 0.4, -0.3, -0.5, 1.0])
_LEAST = np.array([math.log(0.1), 0.0, math.log(1e-6), 0.0, -2.5, -2.0, -2.0])
_MOST = np.array([math.log(_MOST_SHARE), math.log(2000), math.log(2e-5), 1.0, 1.2, 0.0, 2.5])


def fit(data: Measured) -> dict[str, Any]:
    """Returns the document that planner ships."""
    cards = {card: card_named(card) for card in CARDS.values()}
    forms: dict[Key, Form] = {}
    for key, calls in data.calls.items():
        forms[key] = _fitted([one for one in calls if not one.is_held_out], cards[key[0]])
    document: dict[str, Any] = {
        "cards": {card: _of_card(spec, data, forms) for card, spec in cards.items()},
        "hopper": torch_on_hopper(),
        "left_out": {"related": 0.0, "other": 0.0},
    }
    document["left_out"] = _left_out(data, read_tables(document))
    return document


def _fitted(calls: Sequence[Call], card: GpuSpec) -> Form:
    """Returns the form with the least error of logarithms."""
    drawn = calls
    if len(calls) > _MOST_ROWS:
        order = np.random.default_rng(0).permutation(len(calls))[:_MOST_ROWS]
        drawn = [calls[number] for number in order]
    seconds = np.array([one.seconds for one in drawn])
    arrays = Arrays(drawn)
    found = []
    for tile in _TILES:

        def residuals(at: Vector, tile: int = tile) -> Vector:
            return np.log(predicted(_form(at, tile), arrays, card) / seconds)

        cost, at = fitted(residuals, _START, _LEAST, _MOST)
        found.append((cost, tile, at))
    _, tile, at = min(found, key=lambda one: one[0])
    form = _form(at, tile)
    errors = np.sort(np.log(predicted(form, Arrays(calls), card) / [one.seconds for one in calls]))
    cut = len(errors) // 100
    return replace(form, spread=float(np.std(errors[cut : len(errors) - cut])))


def _form(at: Vector, tile: int) -> Form:
    share, first_keys, fixed_s, lone, bandwidth = (
        math.exp(at[number]) for number in (0, 1, 2, 4, 5)
    )
    return Form(
        tile=tile,
        share=share,
        first_keys=first_keys,
        fixed_s=fixed_s,
        wave=float(at[3]),
        lone=lone,
        bandwidth=bandwidth,
        power=1 + math.exp(at[6]),
        spread=0.0,
        is_measured=True,
    )


class Arrays:
    """The shapes of calls, as arrays."""

    def __init__(self, calls: Sequence[Call]) -> None:
        """Takes what the formula needs of each."""
        works = [one.work for one in calls]
        self.blocks_of = np.array([one.batch * one.heads for one in works], float)
        self.queries = np.array([one.queries for one in works], float)
        self.keys = np.array([one.keys for one in works], float)
        self.width = np.array([one.width for one in works], float)
        self.most_keys = np.array([one.most_keys for one in works], float)
        self.mean_keys = np.array([one.mean_keys for one in works], float)
        self.moved_bytes = np.array([one.moved_bytes for one in works], float)
        self.is_causal = np.array([one.is_causal for one in works])


def predicted(form: Form, works: Arrays, card: GpuSpec) -> Vector:
    """Returns the seconds of calls: the formula of planner's module, on arrays."""
    peak, size = card.peak_flops_per_s.bf16, card.streaming_multiprocessors
    assert peak is not None
    unit_s = 4 * form.tile * works.width / (form.share * peak / size)
    waves = works.blocks_of * np.ceil(works.queries / form.tile) / size
    counted = waves + form.wave * (np.ceil(waves) - waves)
    last = np.minimum(np.minimum(works.most_keys + form.tile, works.keys), works.queries)
    longest = np.where(works.is_causal, last, works.most_keys)
    together_s = unit_s * (works.mean_keys + form.first_keys) * counted
    alone_s = form.lone * unit_s * (longest + form.first_keys)
    memory_s = works.moved_bytes / (form.bandwidth * card.memory_bandwidth_bytes_per_s)
    most = np.maximum(np.maximum(together_s, alone_s), memory_s)
    rounded = sum(((one / most) ** form.power for one in (together_s, alone_s, memory_s)), 0.0)
    found: Vector = form.fixed_s + most * rounded ** (1 / form.power)
    return found


def _of_card(card: GpuSpec, data: Measured, forms: Mapping[Key, Form]) -> dict[str, Any]:
    peak = card.peak_flops_per_s.bf16
    assert peak is not None
    assert card.compute_capability is not None
    filled = _filled(card.id, forms, data.contiguous_gain[_LIKE])
    return {
        "capability": list(card.compute_capability),
        "multiprocessors": card.streaming_multiprocessors,
        "peak_tflops": peak / 1e12,
        "rate_tflops": round(rate_of(card).flops_per_s / 1e12, 2),
        "contiguous_gain": round(data.contiguous_gain[card.id], 3),
        "decode": _decode_figures(card, data.decode[card.id]),
        **{
            mask: {
                str(width): _written(filled[card.id, mask, width])
                for width in WIDTHS
                if (card.id, mask, width) in filled
            }
            for mask in ("causal", "whole")
        },
    }


def rate_of(card: GpuSpec) -> Rate:
    return arithmetic_rate(card, "bfloat16", tf32=False, is_product=True)


def _written(form: Form) -> list[float]:
    return [
        form.tile, round(form.share, 4), round(form.first_keys, 1), round(form.fixed_s * 1e6, 2),
        round(form.wave, 3), round(form.lone, 3), round(form.bandwidth, 3), round(form.power, 3),
        round(form.spread, 3), int(form.is_measured),
    ]  # fmt: skip


_LIKE = "l40s"  # the card whose FlashAttention 2 was measured with most widths and both masks


def _filled(card: str, measured: Mapping[Key, Form], like_gain: float) -> dict[Key, Form]:
    """Returns also forms of widths and masks that were not measured on a card.

    Another width: FLOP/s as the card's own of 128, by the ratio of the two on L40S. Another mask:
    as the same width's, by the ratio of both masks' at the width that has both.
    """
    forms = {key: form for key, form in measured.items() if key[0] == card}

    def take(key: Key, other: Key, ratio: float) -> None:
        if key not in forms and other in forms:
            form = forms[other]
            forms[key] = replace(
                form,
                share=min(_MOST_SHARE, form.share * ratio),
                spread=math.hypot(form.spread, _DERIVED_SPREAD),
                is_measured=False,
            )

    for width in _MAIN_WIDTHS:
        if (card, "causal", width) not in forms and (_LIKE, "causal", width) in measured:
            one, like = measured[_LIKE, "causal", width], measured[_LIKE, "causal", 128]
            take((card, "causal", width), (card, "causal", 128), one.share / like.share)
    has_both = (card, "whole", _BASE) in forms and (card, "causal", _BASE) in measured
    of = card if has_both else _LIKE
    ratio = measured[of, "whole", _BASE].share / measured[of, "causal", _BASE].share
    if not has_both:
        ratio /= like_gain  # the ratio is of causal calls in pages; the card's are not
    for width in WIDTHS:
        take((card, "whole", width), (card, "causal", width), ratio)
        take((card, "causal", width), (card, "whole", width), 1 / ratio)
    return forms


def _decode_figures(card: GpuSpec, calls: Sequence[Call]) -> list[float]:
    """Returns share of the bandwidth, microseconds of begin and end, first keys, spread."""
    found = [one for one in calls if not one.is_held_out and one.work.window is None]
    seconds = np.array([one.seconds for one in found])
    key_bytes = np.array([4.0 * w.batch * w.key_heads * w.width for w in (c.work for c in found)])
    keys = np.array([one.work.keys for one in found])

    def residuals(at: Vector) -> Vector:
        fixed_s, share, first = np.exp(at)
        busy_s = key_bytes * (keys + first) / (share * card.memory_bandwidth_bytes_per_s)
        found: Vector = np.log((fixed_s + busy_s) / seconds)
        return found

    start, least, most = (
        np.log(one) for one in ((5e-6, 0.7, 100.0), (1e-6, 0.05, 1.0), (3e-5, 1.0, 2000.0))
    )
    _, at = fitted(residuals, start, least, most)
    fixed_s, share, first = (float(math.exp(one)) for one in at)
    spread = float(np.std(residuals(at)))
    return [round(share, 3), round(fixed_s * 1e6, 2), round(first, 1), round(spread, 3)]


def seconds_of(form: Form, work: Work, card: GpuSpec, peak: float) -> float:
    compute_s, memory_s, _ = call_s(form, work, card, flops_per_s=peak, is_backward=False)
    return busy_s(form, compute_s, memory_s) + form.fixed_s


def left_out_pairs(
    calls: Sequence[Call], found: Tables, card: GpuSpec
) -> Iterator[tuple[float, float]]:
    """Yields predicted and measured seconds by the constants of other cards."""
    for one in calls:
        chosen = choose(found, card, one.work.width, is_causal=one.work.is_causal, without=card.id)
        assert chosen is not None
        peak = chosen.flops_per_s(rate_of(card), "bfloat16")
        yield seconds_of(chosen.form, one.work, card, peak), one.seconds


def _left_out(data: Measured, found: Tables) -> dict[str, float]:
    """Returns the root of the mean square of logarithms with a card left out, by kinship."""
    squares: dict[str, list[float]] = {"related": [], "other": []}
    for (name, _, _), calls in data.calls.items():
        card = card_named(name)
        kin = [one for one in found.kin if one.card != name]
        is_related = any(one.capability == card.compute_capability for one in kin)
        squares["related" if is_related else "other"] += [
            math.log(measured / predicted_s) ** 2
            for predicted_s, measured in left_out_pairs(calls[::7], found, card)
        ]
    return {
        name: round(math.sqrt(float(np.mean(sorted(values)[: -len(values) // 50]))), 3)
        for name, values in squares.items()
    }
