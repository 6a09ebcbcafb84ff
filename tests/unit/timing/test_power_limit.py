"""The clock under a power limit: by hand, and compared with published times of jobs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from math import log, sqrt
from pathlib import Path
from typing import NamedTuple

import pytest

from planner.cost.energy import StepLoad, typical_power_w
from planner.errors import UsageError
from planner.hardware.database import load_gpus
from planner.timing.power_limit import (
    bandwidth_at,
    check_power_limit,
    clock_under_limit,
    limit_spread,
)

MEASURED = Path(__file__).resolve().parents[3] / "benchmarks" / "measurements" / "zeus_power.csv"


@pytest.mark.parametrize(
    ("drawn_w", "limit_w", "clock"),
    [
        # 0.97 x 200 = 194 W are held, 50 W of 250 are static: (144 / 180) ^ 1/3
        pytest.param(230, 200, 0.9283, id="voltage falls"),
        # 0.97 x 120 - 50 = 66.4 of 180 W, below half: 0.5 ^ 1/3 x 66.4 / 90
        pytest.param(230, 120, 0.5856, id="voltage at its least"),
        pytest.param(190, 200, 1.0, id="draws less"),
        pytest.param(250, 250, 1.0, id="as shipped"),
        pytest.param(250, 300, 1.0, id="above"),
        pytest.param(230, 52, 0.1, id="hardly any clock"),
    ],
)
def test_the_clock_by_hand(drawn_w: float, limit_w: float, clock: float) -> None:
    found = clock_under_limit(drawn_w=drawn_w, limit_w=limit_w, tdp_w=250)
    assert found == pytest.approx(clock, abs=1e-3)


def test_memory_falls_less_than_the_clock() -> None:
    assert bandwidth_at(1.0) == 1.0
    assert bandwidth_at(0.81) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("card", "limit_w", "said"),
    [
        ("v100-pcie-32gb", 90, "v100-pcie-32gb takes limits from 100 to 250 W"),
        ("v100-pcie-32gb", 251, "takes limits from 100 to 250 W"),
        ("rtx-4090", 451, "has 450 W as shipped; its limits are not known"),
        ("rtx-4090", 112, "those from 112.5 to 450 W have an estimate"),
        ("rtx-4090", 0, "power limit 0 W"),
        ("rtx-4090", -1, "power limit -1 W"),
        ("rtx-4090", float("nan"), "power limit nan W"),
        ("h100", float("inf"), "power limit inf W"),
    ],
)
def test_a_limit_that_the_card_does_not_take_is_refused(
    card: str, limit_w: float, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_power_limit(load_gpus().find(card).spec, limit_w)


@pytest.mark.parametrize(
    ("card", "limit_w"), [("v100-pcie-32gb", 100), ("rtx-4090", 450), ("h200", 200)]
)
def test_the_ends_are_limits_too(card: str, limit_w: float) -> None:
    check_power_limit(load_gpus().find(card).spec, limit_w)


class Row(NamedTuple):
    """A measured job: its throughput under a limit over that without one, and the predicted one."""

    limit_share: float
    error: float


# Shares of the step that planner finds bound by arithmetic and by memory bandwidth.
SHARES = {
    ("v100-pcie-32gb", "resnet50"): (0.551, 0.442), ("a40", "resnet50"): (0.149, 0.844),
    ("quadro-rtx-6000", "resnet50"): (0.434, 0.559), ("p100-pcie-16gb", "resnet50"): (0.608, 0.387),
    ("v100-pcie-32gb", "squad"): (0.879, 0.115), ("a40", "squad"): (0.755, 0.237),
    ("quadro-rtx-6000", "squad"): (0.836, 0.158), ("p100-pcie-16gb", "squad"): (0.902, 0.095),
}  # fmt: skip


def _rows(only: str | None = None) -> Iterator[Row]:
    jobs: dict[tuple[str, str, str], dict[int, float]] = {}
    with MEASURED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            of = "squad" if row["data_set"] == "squad" else row["network"]
            job = jobs.setdefault((row["card"], of, row["batch"]), {})
            job[int(row["power_limit_w"])] = float(row["epoch_s"])
    for (card, network, _), times in jobs.items():
        if (card, network) not in SHARES or only not in (None, card):
            continue
        tdp_w = load_gpus().find(card).spec.tdp_w
        compute, bandwidth = SHARES[card, network]
        drawn_w = typical_power_w(
            StepLoad(
                step_s=1.0,
                samples_per_step=1,
                tdp_w=tdp_w,
                compute_fraction=compute,
                bandwidth_fraction=bandwidth,
            )
        )
        for limit_w, seconds in times.items():
            if limit_w == max(times):
                continue
            clock = clock_under_limit(drawn_w=drawn_w, limit_w=limit_w, tdp_w=tdp_w)
            slower = compute / clock + bandwidth / bandwidth_at(clock) + 1 - compute - bandwidth
            measured = seconds / times[max(times)]
            yield Row(limit_w / tdp_w, log(measured / slower))


@pytest.mark.parametrize("ends", [(0.8, 1.0), (0.6, 0.8), (0.5, 0.6), (0.3, 0.5)])
def test_published_times_differ_by_the_stated_spread(ends: tuple[float, float]) -> None:
    low, high = ends
    errors = [row.error for row in _rows() if low <= row.limit_share < high]
    assert len(errors) >= 10
    found = sqrt(sum(error * error for error in errors) / len(errors))
    assert 0.6 * limit_spread(limit_w=low, tdp_w=1) < found <= limit_spread(limit_w=low, tdp_w=1)


@pytest.mark.parametrize("card", ["v100-pcie-32gb", "a40", "quadro-rtx-6000", "p100-pcie-16gb"])
def test_from_six_tenths_of_its_power_on_each_card_is_near(card: str) -> None:
    """The P100 is the worst: it draws too little for most limits to matter."""
    errors = sorted(abs(row.error) for row in _rows(card) if row.limit_share >= 0.6)
    assert errors[len(errors) // 2] < (0.08 if card == "p100-pcie-16gb" else 0.02)


def test_prefill_on_an_rtx_3090_that_no_constant_was_taken_from() -> None:
    """Tokens per second of a 198k prompt at 350 to 150 W (https://llmgarage.ai/
    power-limit-tokens-per-second-benchmark): 9893, 9326, 8436, 5941. Compute-bound, at its limit.
    """
    for limit_w, measured, tolerance in ((300, 9326, 0.03), (250, 8436, 0.03), (200, 5941, 0.30)):
        clock = clock_under_limit(drawn_w=0.97 * 350, limit_w=limit_w, tdp_w=350)
        assert clock == pytest.approx(measured / 9893, rel=tolerance)
