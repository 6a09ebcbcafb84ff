"""Energy and money of a step: every figure by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost.energy import (
    BANDWIDTH_BOUND_SHARE,
    COMPUTE_BOUND_SHARE,
    WAITING_SHARE,
    StepLoad,
    power_range,
    step_cost,
    typical_power_w,
)
from planner.cost.price import HourlyPrice, parse_price
from planner.errors import UsageError
from planner.results.step_time import cost_document

# 400 W.
LOAD = StepLoad(
    step_s=0.5, samples_per_step=100, tdp_w=400, compute_fraction=1.0, bandwidth_fraction=0.0
)
RANGE_2_TO_3 = HourlyPrice(low=2.0, high=3.0, currency="USD", basis="two rents")


def test_the_constants_are_shares_in_order() -> None:
    assert 0 < WAITING_SHARE[0] < WAITING_SHARE[1] < BANDWIDTH_BOUND_SHARE[0]
    assert BANDWIDTH_BOUND_SHARE[0] < COMPUTE_BOUND_SHARE[0]
    assert BANDWIDTH_BOUND_SHARE[1] < COMPUTE_BOUND_SHARE[1] < 1


@pytest.mark.parametrize(
    ("compute", "bandwidth", "low_w", "high_w"),
    [
        pytest.param(1.0, 0.0, 400 * 0.70, 400 * 0.97, id="compute"),
        pytest.param(0.0, 1.0, 400 * 0.60, 400 * 0.88, id="bandwidth"),
        pytest.param(0.0, 0.0, 400 * 0.14, 400 * 0.31, id="waiting"),
        # 0.5 x 0.70 + 0.25 x 0.60 + 0.25 x 0.14 = 0.535, and 0.485 + 0.22 + 0.0775 = 0.7825
        pytest.param(0.5, 0.25, 400 * 0.535, 400 * 0.7825, id="mixed"),
    ],
)
def test_power_of_the_card_by_what_bounds_the_step(
    compute: float, bandwidth: float, low_w: float, high_w: float
) -> None:
    load = replace(LOAD, compute_fraction=compute, bandwidth_fraction=bandwidth)
    assert power_range(load).card_w == pytest.approx((low_w, high_w))


# Mean watts over an epoch in float32 (https://github.com/ml-energy/zeus, benchmarks/measurements/
# zeus_power.csv), at the power limit as shipped; the shares are planner's for the same step.
MEASURED = [
    ("V100, ResNet-50", 250, 222.4, 0.551, 0.442), ("A40, ResNet-50", 300, 244.3, 0.149, 0.844),
    ("RTX 6000, ResNet-50", 260, 232.3, 0.434, 0.559),
    ("P100, ResNet-50", 250, 165.5, 0.608, 0.387),
    ("V100, BERT", 250, 228.2, 0.879, 0.115), ("A40, BERT", 300, 267.0, 0.755, 0.237),
    ("RTX 6000, BERT", 260, 235.8, 0.836, 0.158), ("P100, BERT", 250, 178.7, 0.902, 0.095),
    ("V100, waits for launches", 250, 39.4, 0.0, 0.0), ("A40, the same", 300, 88.9, 0.0, 0.0),
    ("RTX 6000, the same", 260, 70.6, 0.0, 0.0), ("P100, the same", 250, 39.7, 0.0, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tdp_w", "measured_w", "compute", "bandwidth"),
    [pytest.param(*row[1:], id=row[0]) for row in MEASURED],
)
def test_measured_power_lies_within_the_range(
    tdp_w: float, measured_w: float, compute: float, bandwidth: float
) -> None:
    load = replace(LOAD, tdp_w=tdp_w, compute_fraction=compute, bandwidth_fraction=bandwidth)
    low_w, high_w = power_range(load).card_w
    assert low_w * 0.99 <= measured_w <= high_w


def test_typical_power_is_that_of_cards_but_the_p100() -> None:
    """The worst is the A40, which has a third less power for each byte that it moves."""
    errors = []
    for name, tdp_w, measured_w, compute, bandwidth in MEASURED:
        if "P100" not in name and compute:
            load = replace(
                LOAD, tdp_w=tdp_w, compute_fraction=compute, bandwidth_fraction=bandwidth
            )
            errors.append(abs(typical_power_w(load) / measured_w - 1))
    assert sorted(errors)[len(errors) // 2] < 0.02
    assert max(errors) < 0.06


def test_a_power_limit_is_the_most_that_is_drawn() -> None:
    limited = replace(LOAD, limit_w=300.0)
    assert power_range(limited).card_w == (280, 300)
    assert (
        "14 % to 31 % while waiting, at most the power limit of 300 W"
        in (step_cost(limited).basis[0])
    )


def test_host_and_pue_come_on_top() -> None:
    found = power_range(LOAD, pue=1.2)  # the card: 280 and 388 W
    assert found.card_w == pytest.approx((280, 388))
    assert found.host_w == pytest.approx((280 * 0.15, 388 * 0.25))
    assert found.total_w == pytest.approx((280 * 1.15 * 1.2, 388 * 1.25 * 1.2))
    alone = power_range(LOAD, host_share=(0.0, 0.0))
    assert alone.total_w == alone.card_w


@pytest.mark.parametrize("pue", [0.9, 0.0, -1.0, 10.5, 1e308, float("nan"), float("inf")])
def test_a_pue_that_no_building_has_is_refused(pue: float) -> None:
    with pytest.raises(UsageError, match=r"a PUE of .* was given.*write 1 for the machine alone"):
        power_range(LOAD, pue=pue)


def test_energy_of_a_sample_and_of_an_epoch() -> None:
    found = step_cost(LOAD, dataset_samples=720_000, host_share=(0.0, 0.0))
    assert found.samples_per_s == 200
    assert found.power_w == pytest.approx((280, 388))
    # 280 W x 0.5 s / 100 samples
    assert found.joule_per_sample == pytest.approx((1.4, 1.94))
    assert found.epoch is not None
    assert found.epoch.hours == pytest.approx(1.0)  # 720000 / 200 = 3600 s
    assert found.epoch.kwh == pytest.approx((0.28, 0.388))  # an hour at 280 to 388 W
    assert (found.epoch.money, found.epoch.currency, found.cost_per_sample) == (None, None, None)


def test_money_is_hours_times_the_rent() -> None:
    found = step_cost(LOAD, dataset_samples=1_440_000, price=RANGE_2_TO_3)
    assert found.epoch is not None
    assert found.epoch.money == pytest.approx((4.0, 6.0))  # 2 h at 2 to 3 USD
    assert found.epoch.currency == "USD"
    # 2 USD for 3600 s x 200 samples/s
    assert found.cost_per_sample == pytest.approx((2 / 720_000, 3 / 720_000))
    assert "price: two rents" in found.basis


def test_neither_pue_nor_host_move_the_rent() -> None:
    plain = step_cost(LOAD, dataset_samples=1000, price=RANGE_2_TO_3)
    cooled = step_cost(LOAD, dataset_samples=1000, price=RANGE_2_TO_3, pue=1.5)
    assert plain.epoch is not None
    assert cooled.epoch is not None
    assert plain.epoch.money == cooled.epoch.money
    assert cooled.epoch.kwh[0] == pytest.approx(1.5 * plain.epoch.kwh[0])


def test_without_a_dataset_there_is_no_epoch() -> None:
    found = step_cost(LOAD, price=RANGE_2_TO_3)
    assert found.epoch is None
    assert found.cost_per_sample is not None


def test_the_basis_says_every_assumption() -> None:
    said = step_cost(LOAD, dataset_samples=50_000, pue=1.2).basis
    assert said == (
        "power of the card: of 400 W 70 % to 97 % while compute-bound, 60 % to 88 % while "
        "memory-bandwidth-bound, 14 % to 31 % while waiting",
        "power of the host: 15 % to 25 % of the card's (more in a server of many cards)",
        "PUE 1.2: that much for each watt of the machine",
        "no rent of this card is known; give one with --price, like 2.49 USD/h",
        "an epoch is 50000 samples, each once, without any evaluation",
    )
    assert not any("PUE" in line for line in step_cost(LOAD).basis)


def test_json_form() -> None:
    found = step_cost(LOAD, dataset_samples=720_000, price=parse_price("2 EUR/h"))
    document = json.loads(json.dumps(cost_document(found)))
    assert list(document) == [
        "power_w", "joule_per_sample", "samples_per_s", "cost_per_sample", "price_per_hour",
        "currency", "epoch", "basis",
    ]  # fmt: skip
    assert document["price_per_hour"] == [2.0, 2.0]
    assert document["epoch"] == {
        "samples": 720_000, "hours": 1.0, "kwh": pytest.approx([0.322, 0.485]),
        "money": [2.0, 2.0], "currency": "EUR",
    }  # fmt: skip
    bare = cost_document(step_cost(LOAD))
    assert [bare[key] for key in ("cost_per_sample", "price_per_hour", "currency", "epoch")] == (
        [None] * 4
    )


@pytest.mark.parametrize(
    "change",
    [
        {"step_s": 0.0}, {"samples_per_step": 0}, {"tdp_w": -1.0}, {"compute_fraction": 1.1},
        {"bandwidth_fraction": -0.1}, {"bandwidth_fraction": 0.1}, {"step_s": -1.0},
    ],
)  # fmt: skip
def test_a_load_that_cannot_be_is_our_own_error(change: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        replace(LOAD, **change)


@given(compute=st.floats(0, 1), bandwidth=st.floats(0, 1), tdp_w=st.floats(5, 5000))
def test_power_lies_between_waiting_and_tdp(compute: float, bandwidth: float, tdp_w: float) -> None:
    total = max(1.0, compute + bandwidth)
    load = replace(
        LOAD,
        tdp_w=tdp_w,
        compute_fraction=compute / total,
        bandwidth_fraction=bandwidth / total,
    )
    low_w, high_w = power_range(load).card_w
    assert WAITING_SHARE[0] * tdp_w <= low_w * (1 + 1e-9)
    assert low_w <= high_w * (1 + 1e-9)
    assert high_w < tdp_w
