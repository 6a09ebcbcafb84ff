"""Judges the form of attention's time, on held-out shapes and with each card left out.

In: Measured, the document. Out: Figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks.kernels.aiconfigurator import CARDS
from benchmarks.kernels.attention.fitting import left_out_pairs, rate_of, seconds_of
from benchmarks.kernels.attention.reading import NAME, Measured
from benchmarks.kernels.records import Figure, JudgedBy, card_named, figures
from planner.hardware.specs import GpuSpec
from planner.timing.efficiency import efficiencies
from planner.timing.measured.attention_form import Decode, Work, read_bytes
from planner.timing.measured.attention_tables import read_form, read_tables
from planner.timing.rates import memory_rate

_figures = partial(figures, NAME)


def judge(data: Measured, constants: Mapping[str, Any]) -> Iterator[Figure]:
    """Yields the figures of each card: held-out shapes, and the card left out."""
    found = read_tables(constants)
    everything: list[tuple[float, float]] = []
    for name in CARDS.values():
        card = card_named(name)
        for mask, part in (("whole", "forward, not causal"), ("causal", "forward, causal")):
            pairs, before, left_out = [], [], []
            for (owner, its_mask, width), calls in data.calls.items():
                if (owner, its_mask) != (name, mask):
                    continue
                form = read_form(constants["cards"][name][mask][str(width)])
                peak = constants["cards"][name]["peak_tflops"] * 1e12
                judging = [one for one in calls if one.is_held_out]
                pairs += [(seconds_of(form, one.work, card, peak), one.seconds) for one in judging]
                before += [abs(_before_s(one.work, card) / one.seconds - 1) for one in judging]
                left_out += list(left_out_pairs(calls[::3], found, card))
            everything += pairs
            yield from _figures(part, name, JudgedBy.HELD_OUT, pairs, before)
            yield from _figures(part, name, JudgedBy.LEFT_OUT, left_out)
        decode = next(one.decode for one in found.kin if one.card == name)
        decoded = [
            (_decoded_s(decode, one.work, card), one.seconds)
            for one in data.decode[name]
            if one.is_held_out and one.work.window is None
        ]
        yield from _figures("one query", name, JudgedBy.HELD_OUT, decoded)
    yield from _figures("forward", "all", JudgedBy.HELD_OUT, everything)


def _decoded_s(decode: Decode, work: Work, card: GpuSpec) -> float:
    heads = work.batch * work.key_heads
    moved = read_bytes(decode, heads=heads, keys=work.keys, widths=2 * work.width)
    return decode.fixed_s + moved / (decode.share * card.memory_bandwidth_bytes_per_s)


def _before_s(work: Work, card: GpuSpec) -> float:
    """Returns the seconds by one share of each roof, a mask counted as if there were none."""
    found = efficiencies()
    key = "fused attention, forward"
    flops = 4 * work.batch * work.heads * work.queries * work.keys * work.width
    compute_s, memory_s = found.roofs_s(
        key, flops / rate_of(card).flops_per_s, work.moved_bytes / memory_rate(card)
    )
    return math.hypot(compute_s, memory_s) + found.kernel_s
