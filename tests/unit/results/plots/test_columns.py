"""Thinning loses points, and never a peak."""

from __future__ import annotations

import random

import pytest

from planner.results.plots.columns import bent_points, filled_runs, highest_of_stretches


def test_the_highest_of_each_stretch_stays() -> None:
    levels = [0, 5, 1, 2, 9, 3, 3, 3, 4, 0]
    assert highest_of_stretches(levels, 2) == (0, 4, 8, 9)
    assert highest_of_stretches(levels, 5) == (0, 1, 3, 4, 6, 8, 9)
    assert highest_of_stretches(levels, 10) == tuple(range(10))
    assert highest_of_stretches([], 3) == ()


@pytest.mark.parametrize("stretches", [1, 2, 7, 260])
def test_the_maximum_of_any_stretch_of_columns_is_exact(stretches: int) -> None:
    draw = random.Random(5)
    levels = [draw.randrange(1000) for _ in range(5000)]
    kept = highest_of_stretches(levels, stretches)
    assert max(levels[index] for index in kept) == max(levels)
    assert len(kept) <= stretches + 2
    for number in range(stretches):
        begin, end = number * 5000 // stretches, (number + 1) * 5000 // stretches
        highest = max(levels[index] for index in kept if begin <= index < end)
        assert highest == max(levels[begin:end])


def test_only_points_within_a_level_line_are_left_out() -> None:
    points = bent_points([0, 1, 2, 3, 4, 5], [1, 1, 1, 2, 1, 1])
    assert points == [(0, 1), (2, 1), (3, 2), (4, 1), (5, 1)]
    assert bent_points([4], [7]) == [(4, 7)]


def test_areas_are_where_there_is_memory() -> None:
    assert filled_runs([0, 0, 0, 0, 0], [0, 0, 2, 0, 0]) == [(1, 4)]
    assert filled_runs([1, 1, 1, 1, 1], [2, 1, 1, 1, 3]) == [(0, 2), (3, 5)]
    assert filled_runs([0, 0], [0, 0]) == []
