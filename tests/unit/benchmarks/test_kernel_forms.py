"""The fits of tables of kernels: their formulas are planner's, and they find what made the data."""

from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.kernels.attention.fitting import Arrays, predicted, seconds_of
from benchmarks.kernels.attention.reading import Call
from benchmarks.kernels.least_squares import Vector, fitted
from planner.hardware.database import load_gpus
from planner.timing.measured.attention_form import Form, Work

_FORM = Form(
    tile=128, share=0.6, first_keys=150.0, fixed_s=4e-6, wave=0.7, lone=0.8, bandwidth=0.5,
    power=1.7, spread=0.1, is_measured=True,
)  # fmt: skip


def _calls() -> list[Call]:
    drawn = random.Random(3)
    works = [
        Work(
            batch=drawn.choice((1, 3, 64)),
            heads=drawn.choice((1, 12, 40)),
            key_heads=1,
            queries=length,
            keys=length,
            width=drawn.choice((64, 80, 128)),
            is_causal=drawn.random() < 0.5,
            window=drawn.choice((None, 128)),
        )
        for length in (16, 100, 128, 1000, 4096, 16384)
        for _ in range(20)
    ]
    return [Call(work=work, seconds=1.0, kernel="") for work in works]


def test_the_formula_on_arrays_is_planners() -> None:
    card, calls = load_gpus().find("l40s").spec, _calls()
    peak = card.peak_flops_per_s.bf16
    assert peak is not None
    on_arrays = predicted(_FORM, Arrays(calls), card)
    one_by_one = [seconds_of(_FORM, one.work, card, peak) for one in calls]
    assert on_arrays.tolist() == pytest.approx(one_by_one)


def test_shapes_are_held_out_on_all_cards_alike() -> None:
    held = [one.is_held_out for one in _calls()]
    assert 0.1 < sum(held) / len(held) < 0.3
    assert held == [one.is_held_out for one in _calls()]


def test_least_squares_finds_what_made_the_data_in_spite_of_odd_ones() -> None:
    sizes = np.linspace(1.0, 100.0, 50)
    measured = 3.0 + 0.5 * sizes
    measured[::10] *= 4  # odd measurements

    def residuals(at: Vector) -> Vector:
        return np.log((np.exp(at[0]) + np.exp(at[1]) * sizes) / measured)

    _, at = fitted(residuals, np.zeros(2), np.full(2, -5.0), np.full(2, 5.0))
    assert np.exp(at).tolist() == pytest.approx([3.0, 0.5], rel=0.1)


def test_least_squares_stays_within_its_bounds() -> None:
    def residuals(at: Vector) -> Vector:
        return at - np.array([2.0, -3.0])

    _, at = fitted(residuals, np.zeros(2), np.full(2, -1.0), np.full(2, 1.0))
    assert at.tolist() == pytest.approx([1.0, -1.0])
