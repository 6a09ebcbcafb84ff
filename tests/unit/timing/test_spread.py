"""The interval of a step time widens with what was not measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from planner.hardware.database import load_gpus
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.spread import (
    FILE,
    Distance,
    Measured,
    Scales,
    Spreads,
    StepPrecision,
    Unknown,
    spreads_of,
    step_precision,
    text_of,
)
from tests.unit.operator_records import product

SCALES = Scales(
    sources={
        TimeSource.TABLE: 0.03, TimeSource.RELATED: 0.04, TimeSource.FIT: 0.06,
        TimeSource.FALLBACK: 0.30,
    },
    unknown={
        Unknown.CARD: 0.08, Unknown.ARCHITECTURE: 0.24, Unknown.PRECISION: 0.10,
        Unknown.LAUNCHES: 0.20,
    },
    reach=1.5, coverage=0.8, basis="20 published steps",
)  # fmt: skip
MEASURED = Measured(
    cards=frozenset({"rtx-3090"}),
    architectures={"8.6": frozenset({StepPrecision.HALF})},
)
NOTHING: dict[Unknown, float] = {}


def distance(unknown: dict[Unknown, float]) -> Distance:
    return Distance(unknown=unknown)


def test_variances_add_up() -> None:
    """0.06 and 0.08 are the legs of a right triangle with 0.10."""
    assert SCALES.scale(distance(NOTHING)) == pytest.approx(0.06)
    assert SCALES.scale(distance({Unknown.CARD: 1.0})) == pytest.approx(0.10)
    both = distance({Unknown.CARD: 1.0, Unknown.ARCHITECTURE: 1.0})
    assert SCALES.scale(both) == pytest.approx(0.26)


def test_a_share_counts_in_part() -> None:
    half = replace(distance(NOTHING), sources={TimeSource.FIT: 0.5, TimeSource.FALLBACK: 0.5})
    assert SCALES.scale(half) == pytest.approx(math.sqrt((0.06**2 + 0.30**2) / 2))
    launches = distance({Unknown.LAUNCHES: 0.25})
    assert SCALES.scale(launches) == pytest.approx(math.sqrt(0.06**2 + 0.25 * 0.20**2))


def test_the_ends_are_a_quantile_times_the_scale() -> None:
    found = SCALES.spread(distance({Unknown.CARD: 1.0}))
    assert (found.low, found.high) == pytest.approx((math.exp(-0.15), math.exp(0.15)))
    assert found.coverage == 0.8
    assert found.basis == "20 published steps; no step of this card was measured"
    assert SCALES.spread(distance(NOTHING)).basis == SCALES.basis


@pytest.mark.parametrize(
    ("card", "capability", "precision", "unknown"),
    [
        ("rtx-3090", (8, 6), StepPrecision.HALF, set()),
        ("rtx-a6000", (8, 6), StepPrecision.HALF, {Unknown.CARD}),
        ("rtx-a6000", (8, 6), StepPrecision.SINGLE, {Unknown.CARD, Unknown.PRECISION}),
        ("t4", (7, 5), StepPrecision.HALF, {Unknown.CARD, Unknown.ARCHITECTURE}),
    ],
)
def test_what_is_not_known_of_a_card(
    card: str, capability: tuple[int, int], precision: StepPrecision, unknown: set[Unknown]
) -> None:
    found = MEASURED.unknown(card, capability, precision, 0.125)
    assert {one for one, share in found.items() if share == 1.0} == unknown
    assert found[Unknown.LAUNCHES] == 0.125


def test_the_precision_is_that_of_most_products() -> None:
    a100, gtx = (load_gpus().find(name).spec for name in ("a100", "gtx1080ti"))
    half = product(2048, 2048, 2048, dtype="float16")
    small = product(64, 64, 64, dtype="float32")
    assert step_precision([half, small], a100) is StepPrecision.HALF
    assert step_precision([half, small], gtx) is StepPrecision.SINGLE
    assert step_precision([small], a100) is StepPrecision.SINGLE
    assert step_precision([small], a100, tf32_matmul=True) is StepPrecision.TF32
    assert step_precision([], a100) is StepPrecision.SINGLE


def test_figures_come_back_from_their_file() -> None:
    found = Spreads(measured=MEASURED, scales=SCALES)
    assert spreads_of(text_of(found)) == found
    assert found.of(distance(NOTHING)) == SCALES.spread(distance(NOTHING))


def test_the_shipped_figures_widen_with_distance() -> None:
    found = spreads_of(FILE.read_text(encoding="utf-8"))
    near, far = (found.of(distance(one)) for one in (NOTHING, dict.fromkeys(Unknown, 1.0)))
    assert far.low < near.low < 1 < near.high < far.high
