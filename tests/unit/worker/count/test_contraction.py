"""Multiply-adds of Einstein sums, by hand."""

from __future__ import annotations

import pytest

from planner.worker.count.contraction import contraction_multiply_adds


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("ij,jk", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("i,j->ij", [(2,), (3,)], 2 * 3),
        ("i,i->", [(4,), (4,)], 4),
        ("b...ij,b...jk->b...ik", [(7, 2, 3, 4), (7, 2, 4, 5)], 7 * 2 * 3 * 4 * 5),
        ("...i,...i", [(2, 3, 4), (3, 4)], 2 * 3 * 4),
        ("bi,ij,jk->bk", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("ij,ij,j->", [(2, 3), (2, 3), (3,)], 2 * 3 + 3),
        ("bij,ij->b", [(2, 1, 4), (3, 4)], 2 * 3 * 4),
        ("ij->i", [(2, 3)], 0.5 * 2 * 3),
        ("ij->ji", [(2, 3)], 0),
    ],
)
def test_contractions(equation: str, shapes: list[tuple[int, ...]], expected: float) -> None:
    assert contraction_multiply_adds(equation, shapes) == expected


@pytest.mark.parametrize(("equation", "shapes"), [("ij,jk->ik", [(2, 3)]), ("ij->i", [(2, 3, 4)])])
def test_an_equation_that_does_not_fit(equation: str, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="zip"):
        contraction_multiply_adds(equation, shapes)
