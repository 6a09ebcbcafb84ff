"""Intervals by order statistics, against figures worked out by hand."""

from __future__ import annotations

import random

import pytest

from planner.memory.budget import (
    Calibration,
    MemoryBudget,
    calibrated,
    memory_budgets,
    with_outside,
)
from planner.memory.interval import ErrorInterval, Ratios, median, spread
from planner.units import GIB, MIB


def ratios(*values: float) -> Ratios:
    return Ratios(values=values, source=f"{len(values)} runs")


def counted(count: int) -> Ratios:
    """1.01, 1.02 ... so that a rank can be read off."""
    return ratios(*(1 + index / 100 for index in range(1, count + 1)))


def budget(context_mib: int | None = None, offset_mib: int = 0) -> MemoryBudget:
    """A card of 10 GiB with 198 MiB of context, unless it was measured."""
    (found,) = memory_budgets(["t4"], hardware_db=None, gpu_memory="10GiB", reserve=0)
    if context_mib is None and not offset_mib:
        return found
    known = Calibration(
        card="Tesla T4",
        runs=3,
        context_overhead_bytes=None if context_mib is None else context_mib * MIB,
        reserved_offset_bytes=offset_mib * MIB,
        step_time_ratio=None,
        basis="calibrated on 3 runs on this card",
    )
    return calibrated(found, known)


@pytest.mark.parametrize(
    ("count", "coverage", "rank"),
    [
        (1, 0.0, 1),
        (5, 1 - 2 / 6, 1),  # too few for 90 %: least and greatest, which cover 4 of 6
        (18, 1 - 2 / 19, 1),
        (19, 0.9, 1),  # 20 places for the next one, 1 of them at each end outside
        (40, 1 - 2 / 41, 1),  # rank 2 of sums, which both second ratios do not bound
        (59, 0.9, 2),  # rank 3 of sums: the second ratio of each part
        (79, 0.925, 2),  # rank 4 of sums is not bounded by one of the parts: rank 3 is
        (99, 0.9, 3),
        (100, 0.9009900990099009, 3),  # 101 * 5 % = 5: rank 5 of sums, the third of each
    ],
)
def test_coverage_and_rank_by_hand(count: int, coverage: float, rank: int) -> None:
    found = spread(counted(count), counted(count))
    assert found.coverage == pytest.approx(coverage)
    ends = (1 + rank / 100, 1 + (count + 1 - rank) / 100)
    assert found.reserved == pytest.approx(ends)
    assert found.context == pytest.approx(ends)


def test_the_shorter_list_says_how_much_is_covered() -> None:
    found = spread(counted(19), counted(30))
    assert found.coverage == pytest.approx(0.9)
    assert found.context == pytest.approx((1.01, 1.30))
    assert found.basis == "19 runs and 30 runs"


def test_an_interval_by_hand() -> None:
    found = spread(ratios(0.9, 1.0, 1.1), ratios(0.5, 1.0, 2.0))
    assert found.interval_bytes(budget(), 1000 * MIB) == (
        900 * MIB + 99 * MIB,
        1100 * MIB + 396 * MIB,
    )


def test_an_interval_around_what_was_measured() -> None:
    found = spread(ratios(0.9, 1.0, 1.1), ratios(0.5, 1.0, 2.0))
    card = budget(context_mib=100, offset_mib=50)
    assert found.interval_bytes(card, 950 * MIB) == (950 * MIB, 1300 * MIB)


@pytest.mark.parametrize("ends", [(1.1, 1.2), (0.8, 0.9)])
def test_the_prediction_is_always_inside(ends: tuple[float, float]) -> None:
    found = ErrorInterval(reserved=ends, context=(1.0, 1.0), coverage=0.5, basis="")
    low, high = found.interval_bytes(budget(), 1000 * MIB)
    assert low <= 1198 * MIB <= high


def test_the_capacity_for_the_upper_end_by_hand() -> None:
    found = spread(ratios(0.9, 1.25), ratios(0.5, 2.0))
    assert found.capacity_bytes(budget()) == (10240 - 2 * 198) * MIB * 4 // 5
    measured = budget(context_mib=120, offset_mib=64)
    assert found.capacity_bytes(measured) == (10240 - 240) * MIB * 4 // 5 - 64 * MIB


@pytest.mark.parametrize("ends", [(0.9, 1.25), (0.7, 0.9), (1.0, 1.0)])
@pytest.mark.parametrize("offset_mib", [0, 70, -70])
def test_up_to_that_capacity_the_upper_end_fits(ends: tuple[float, float], offset_mib: int) -> None:
    found = ErrorInterval(reserved=ends, context=(0.5, 1.5), coverage=0.9, basis="")
    card = budget(offset_mib=offset_mib)
    capacity = found.capacity_bytes(card)
    assert capacity <= card.capacity_bytes
    assert found.interval_bytes(card, capacity)[1] <= 10 * GIB + 1
    assert found.interval_bytes(card, capacity + 2 * MIB)[1] > 10 * GIB


def test_the_interval_covers_what_it_says() -> None:
    """The next case among cases of one kind; with a tail as long as that of context overheads."""
    draw = random.Random(7)
    card, inside, cases = budget(), 0, 2000
    for _ in range(cases):
        reserved = [draw.lognormvariate(0, 0.02) for _ in range(20)]
        context = [draw.lognormvariate(0, 0.3) for _ in range(31)]
        found = spread(ratios(*reserved[:-1]), ratios(*context[:-1]))
        low, high = found.interval_bytes(card, 8 * GIB)
        inside += low <= 8 * GIB * reserved[-1] + 198 * MIB * context[-1] <= high
    assert inside / cases > 0.9


@pytest.mark.parametrize(
    ("values", "middle"), [((3,), 3), ((4, 1), 2.5), ((9, 1, 2), 2), ((1, 9, 2, 4), 3)]
)
def test_median(values: tuple[int, ...], middle: float) -> None:
    assert median(values) == middle


def test_what_libraries_take_themselves_is_known_to_the_byte() -> None:
    found = spread(ratios(0.9, 1.1), ratios(1.0, 1.0))
    plain = budget()
    used = with_outside(plain, 500 * MIB)
    low, high = found.interval_bytes(plain, 1000 * MIB)
    assert found.interval_bytes(used, 1000 * MIB) == (low + 500 * MIB, high + 500 * MIB)
    lost = found.capacity_bytes(plain) - found.capacity_bytes(used)
    assert lost == pytest.approx(500 * MIB / 1.1, abs=2)
