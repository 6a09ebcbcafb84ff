"""The fit of the interval finds the scales that errors were drawn with, and covers what it says."""

from __future__ import annotations

import random

import pytest

from benchmarks.throughput.spreading import (
    Sample,
    covered_without_their_card,
    measured_of,
    scales_of,
    share,
)
from planner.timing.spread import Distance, StepPrecision, Unknown


def sample(card: str, error: float, *, is_near: bool) -> Sample:
    unknown = {Unknown.CARD: 0.0 if is_near else 1.0}
    return Sample(
        card=card,
        error=error,
        distance=Distance(unknown=unknown),
        is_judged=not is_near,
    )


def drawn() -> list[Sample]:
    """Errors of 0.05 near what was measured, of 0.13 on other cards: 0.12 more."""
    draw = random.Random(1)
    return [
        sample(f"card {number % 5}", draw.gauss(0, 0.05 if is_near else 0.13), is_near=is_near)
        for is_near in (True, False)
        for number in range(1000)
    ]


def test_the_scales_are_those_of_the_errors() -> None:
    found = scales_of(drawn(), "2000 steps")
    near, far = (found.scale(Distance(unknown={Unknown.CARD: value})) for value in (0.0, 1.0))
    assert far / near == pytest.approx(0.13 / 0.05, rel=0.1)
    spread = found.spread(Distance(unknown={Unknown.CARD: 1.0}))
    assert spread.high == pytest.approx(1.18, abs=0.02)  # exp(0.13 x 1.2816)
    assert found.basis == "2000 steps"


def test_errors_of_a_card_are_covered_by_figures_of_the_others() -> None:
    covered = covered_without_their_card(drawn())
    assert set(covered) == {f"card {number}" for number in range(5)}
    assert all(len(of_card) == 200 for of_card in covered.values())
    assert share([one for of_card in covered.values() for one in of_card]) == pytest.approx(
        0.8, abs=0.03
    )


def test_one_card_alone_has_no_coverage() -> None:
    assert covered_without_their_card([sample("card", 0.1, is_near=False)]) == {}


def test_errors_to_one_side_widen_both_ends() -> None:
    """All errors are above: the next card's may be below."""
    found = scales_of([sample("card", 0.1 + n / 1000, is_near=False) for n in range(100)], "steps")
    spread = found.spread(Distance(unknown={Unknown.CARD: 1.0}))
    assert spread.high == pytest.approx(1 / spread.low)
    assert spread.high == pytest.approx(1.197, abs=0.01)  # exp(0.18), which 80 of 100 are below


def test_what_was_measured_is_what_was_fitted_on() -> None:
    found = measured_of(
        [
            ("rtx-3090", (8, 6), StepPrecision.HALF),
            ("rtx-a6000", (8, 6), StepPrecision.SINGLE),
            ("t4", (7, 5), StepPrecision.HALF),
        ]
    )
    assert found.cards == {"rtx-3090", "rtx-a6000", "t4"}
    assert found.architectures == {
        "8.6": {StepPrecision.HALF, StepPrecision.SINGLE}, "7.5": {StepPrecision.HALF}
    }  # fmt: skip
