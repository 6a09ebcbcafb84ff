"""The rounds of a loop that writes tokens, as rows of a recording.

In: positions in the allocator's history. Out: rows. Convention: a round begins before the request
at its position.
"""

from __future__ import annotations

from collections.abc import Sequence


def rounds_at(
    rounds: Sequence[Sequence[int]], places: Sequence[int], rows: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Returns the rows at which rounds begin; `rows` has the rows before each request."""

    def row(position: int) -> int:
        return rows[places[position]] if position < len(places) else rows[-1]

    return tuple(tuple(map(row, one)) for one in rounds if one)
