"""At which batch a card is compared, of throughputs that are known at each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from planner.estimation.compared_card import compared, knee_that_fits
from planner.memory.budget import memory_budgets
from planner.units import GIB


class FakeSpeeds:
    """1000 B / (100 + B) samples/s, by batch; `most` are those that could be counted."""

    def __init__(self, most: int = 1 << 30) -> None:
        self._most = most

    def samples_per_s(self, batch: int) -> float | None:
        return 1000 * batch / (100 + batch) if batch <= self._most else None


@pytest.mark.parametrize(
    ("largest", "knee"),
    [
        # 1000 x 48 / 148 = 324.3, of which 95 % are 308.1: 32 gives 242.4 alone.
        (48, 48),
        # 1000 x 3000 / 3100 = 967.7, 95 %: 919.4; 1024 gives 911.0, 2048 953.4.
        (3000, 2048),
        (1, 1),
        (0, None),
    ],
)
def test_the_knee_is_at_most_the_largest_batch(largest: int, knee: int | None) -> None:
    assert knee_that_fits(cast(Any, FakeSpeeds()), largest) == knee


def test_without_a_largest_the_throughput_ends_the_search() -> None:
    """To 32768, 997.0 samples/s: 95 % are 947.1, 2048 gives 953.4."""
    assert knee_that_fits(cast(Any, FakeSpeeds()), None) == 2048


def test_a_largest_batch_that_cannot_be_counted_is_left_out() -> None:
    assert knee_that_fits(cast(Any, FakeSpeeds(most=32)), 48) == 32
    assert knee_that_fits(cast(Any, FakeSpeeds(most=0)), 48) is None


@pytest.mark.parametrize(("batch", "fits"), [(32, True), (33, False)])
def test_the_bound_knows_whether_the_batch_fits(batch: int, fits: bool) -> None:
    """As of an estimate: where it does not, memory holds the step up."""
    asked = []

    def at(batch_size: int, *, fits: bool) -> None:
        asked.append((batch_size, fits))

    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=None, reserve=0)
    memory = SimpleNamespace(
        answer=SimpleNamespace(budget=budget), largest=32, largest_is_bound=False,
        fits=lambda size: size <= 32,
        device_total_bytes=lambda _: 20 * GIB,
    )  # fmt: skip
    found = compared(cast(Any, memory), cast(Any, SimpleNamespace(at=at)), batch)
    assert asked == [(batch, fits)]
    assert found.card.fits is fits
    assert found.does_not_fit == (None if fits else batch)
