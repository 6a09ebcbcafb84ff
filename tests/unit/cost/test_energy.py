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
    IDLE_SHARE,
    WAITING_SHARE,
    StepLoad,
    power_range,
    step_cost,
)
from planner.cost.price import HourlyPrice, parse_price
from planner.errors import UsageError
from planner.results.step_time import cost_document

# 400 W, of which 60 W idle and 340 W by load.
LOAD = StepLoad(
    step_s=0.5, samples_per_step=100, tdp_w=400, compute_fraction=1.0, bandwidth_fraction=0.0
)
RANGE_2_TO_3 = HourlyPrice(low=2.0, high=3.0, currency="USD", basis="two rents")


def test_the_constants_are_shares_in_order() -> None:
    assert 0 < IDLE_SHARE < WAITING_SHARE[0] <= WAITING_SHARE[1] <= BANDWIDTH_BOUND_SHARE[0]
    assert BANDWIDTH_BOUND_SHARE[1] <= COMPUTE_BOUND_SHARE[0] < COMPUTE_BOUND_SHARE[1] < 1


@pytest.mark.parametrize(
    ("compute", "bandwidth", "low_w", "high_w"),
    [
        pytest.param(1.0, 0.0, 60 + 340 * 0.75, 60 + 340 * 0.90, id="compute"),
        pytest.param(0.0, 1.0, 60 + 340 * 0.55, 60 + 340 * 0.75, id="bandwidth"),
        pytest.param(0.0, 0.0, 60 + 340 * 0.30, 60 + 340 * 0.30, id="waiting"),
        # u: 0.5 x 0.75 + 0.25 x 0.55 + 0.25 x 0.3 = 0.5875, and 0.45 + 0.1875 + 0.075 = 0.7125
        pytest.param(0.5, 0.25, 60 + 340 * 0.5875, 60 + 340 * 0.7125, id="mixed"),
    ],
)
def test_power_of_the_card_by_what_bounds_the_step(
    compute: float, bandwidth: float, low_w: float, high_w: float
) -> None:
    load = replace(LOAD, compute_fraction=compute, bandwidth_fraction=bandwidth)
    assert power_range(load).card_w == pytest.approx((low_w, high_w))


def test_host_and_pue_come_on_top() -> None:
    found = power_range(LOAD, pue=1.2)  # the card: 315 and 366 W
    assert found.card_w == pytest.approx((315, 366))
    assert found.host_w == pytest.approx((315 * 0.15, 366 * 0.25))
    assert found.total_w == pytest.approx((315 * 1.15 * 1.2, 366 * 1.25 * 1.2))
    alone = power_range(LOAD, host_share=(0.0, 0.0))
    assert alone.total_w == alone.card_w


@pytest.mark.parametrize("pue", [0.9, 0.0, -1.0, 10.5, 1e308, float("nan"), float("inf")])
def test_a_pue_that_no_building_has_is_refused(pue: float) -> None:
    with pytest.raises(UsageError, match=r"a PUE of .* was given.*write 1 for the machine alone"):
        power_range(LOAD, pue=pue)


def test_energy_of_a_sample_and_of_an_epoch() -> None:
    found = step_cost(LOAD, dataset_samples=720_000, host_share=(0.0, 0.0))
    assert found.samples_per_s == 200
    assert found.power_w == pytest.approx((315, 366))
    # 315 W x 0.5 s / 100 samples
    assert found.joule_per_sample == pytest.approx((1.575, 1.83))
    assert found.epoch is not None
    assert found.epoch.hours == pytest.approx(1.0)  # 720000 / 200 = 3600 s
    assert found.epoch.kwh == pytest.approx((0.315, 0.366))  # an hour at 315 to 366 W
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
        "power of the card: idle 15 % of 400 W, and of the rest 75 % to 90 % while compute-bound, "
        "55 % to 75 % while memory-bandwidth-bound, 30 % while waiting",
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
        "samples": 720_000, "hours": 1.0, "kwh": pytest.approx([0.36225, 0.4575]),
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
def test_power_lies_between_idle_and_tdp(compute: float, bandwidth: float, tdp_w: float) -> None:
    total = max(1.0, compute + bandwidth)
    load = replace(
        LOAD,
        tdp_w=tdp_w,
        compute_fraction=compute / total,
        bandwidth_fraction=bandwidth / total,
    )
    low_w, high_w = power_range(load).card_w
    assert IDLE_SHARE * tdp_w < low_w <= high_w * (1 + 1e-9)
    assert high_w < tdp_w
