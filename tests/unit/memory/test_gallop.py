"""The one search for the largest value: exact where what fits is monotone, and it always ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.memory.gallop import Gallop


def by_fours(start: int) -> Iterator[int]:
    yield from (1, 2)
    yield from (max(4, start // 64) * 4**power for power in count())


@given(
    largest=st.integers(0, 3000),
    guess=st.integers(-5, 5000),
    bound=st.integers(1, 4000),
    is_far=st.booleans(),
)
def test_what_is_monotone_is_found_exactly(
    largest: int, guess: int, bound: int, is_far: bool
) -> None:
    looked: list[int] = []

    def fits(value: int) -> bool:
        assert 1 <= value <= bound
        looked.append(value)
        return value <= largest

    search = Gallop(fits=fits, bound=bound)
    if is_far:
        search.up = search.down = by_fours
    assert search.largest(guess) == min(largest, bound)
    assert len(looked) <= 40


@given(
    fits=st.sets(st.integers(1, 60)),
    guess=st.integers(1, 80),
    resolution=st.sampled_from([1, 1, 5]),
)
def test_the_answer_fits_and_the_next_does_not(fits: set[int], guess: int, resolution: int) -> None:
    search = Gallop(fits=lambda value: value in fits, bound=64, resolution=resolution)
    found = search.largest(guess)
    assert found in {0, *fits}
    if found:
        assert any(value in search.failing for value in range(found + 1, found + resolution + 1))
    else:
        assert 1 in search.failing


def test_a_right_guess_takes_two_looks() -> None:
    looked: list[int] = []

    def fits(value: int) -> bool:
        looked.append(value)
        return value <= 965

    search = Gallop(fits=fits, bound=1 << 24, failing={2000})
    assert search.largest(965) == 965
    assert looked == [965, 966]


@pytest.mark.parametrize("bound", [1, 2, 7])
def test_a_bound_is_not_passed(bound: int) -> None:
    assert Gallop(fits=lambda value: True, bound=bound).largest(100) == bound
    assert Gallop(fits=lambda value: True, bound=bound).largest(1) == bound
