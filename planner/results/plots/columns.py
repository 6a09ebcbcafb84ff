"""Thins a column of levels out to as many points as a picture can show.

In: levels, in the order of requests. Out: indices, or points without those on a straight line.
Convention: the highest level of each stretch stays, so no peak is lost and the maximum is exact.
"""

from __future__ import annotations

from collections.abc import Sequence


def highest_of_stretches(levels: Sequence[int], stretches: int) -> tuple[int, ...]:
    """Returns the index of the first highest level in each of `stretches` equal stretches, rising.

    The first and the last index are always there; with few levels all of them are.
    """
    count = len(levels)
    if count <= stretches:
        return tuple(range(count))
    found = {0, count - 1}
    for number in range(stretches):
        begin, end = number * count // stretches, (number + 1) * count // stretches
        found.add(max(range(begin, end), key=lambda index: levels[index]))
    return tuple(sorted(found))


def bent_points(places: Sequence[float], levels: Sequence[float]) -> list[tuple[float, float]]:
    """Returns the points of a line without those that lie between two others of the same level."""
    last = len(places) - 1
    return [
        (place, level)
        for index, (place, level) in enumerate(zip(places, levels, strict=True))
        if index in (0, last) or not levels[index - 1] == level == levels[index + 1]
    ]


def filled_runs(lower: Sequence[float], upper: Sequence[float]) -> list[tuple[int, int]]:
    """Returns begin and end of each stretch where `upper` is above, with a point on both sides."""
    runs: list[tuple[int, int]] = []
    begin: int | None = None
    count = len(upper)
    for index in range(count + 1):
        is_above = index < count and upper[index] > lower[index]
        if is_above and begin is None:
            begin = max(index - 1, 0)
        if not is_above and begin is not None:
            runs.append((begin, min(index + 1, count)))
            begin = None
    return runs
