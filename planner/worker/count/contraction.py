"""Costs of an Einstein sum: its operands are contracted from left to right.

In: an equation as torch.einsum takes it, and the shapes of the operands. Out: multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

_ELLIPSIS = "..."


def contraction_multiply_adds(equation: str, shapes: Sequence[tuple[int, ...]]) -> float:
    """Returns multiply-adds of "ij,jk->ik" and the like.

    Two operands take one multiply-add for each combination of their indices. An index that no later
    operand and no output needs is summed first. A single operand is only summed: half as much.

    Raises:
        ValueError: the equation does not fit the shapes.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [_labels(term, len(shape)) for term, shape in zip(left.split(","), shapes, strict=True)]
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, size in zip(term, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))  # broadcast dimensions have size 1
    output = set(_output(right, terms) if arrow else _implied_output(terms))
    if len(terms) == 1:
        summed = set(terms[0]) - output
        return 0.5 * prod(sizes[label] for label in set(terms[0])) if summed else 0
    total = 0
    done = set(terms[0])
    for position, term in enumerate(terms[1:], start=1):
        involved = done | set(term)
        total += prod(sizes[label] for label in involved)
        needed = output.union(*terms[position + 1 :])
        done = involved & needed
    return total


def _labels(term: str, dimensions: int) -> list[str]:
    """Returns one label for each dimension; labels of the ellipsis are counted from the right."""
    if _ELLIPSIS not in term:
        return list(term)
    before, _, after = term.partition(_ELLIPSIS)
    number = dimensions - len(before) - len(after)
    return [*before, *(f"...{index}" for index in reversed(range(number))), *after]


def _output(term: str, terms: list[list[str]]) -> list[str]:
    named = list(term.replace(_ELLIPSIS, ""))
    return [*_of_ellipsis(terms), *named] if _ELLIPSIS in term else named


def _implied_output(terms: list[list[str]]) -> list[str]:
    """Returns the output without an arrow: the ellipsis, and every label that occurs once."""
    every = [label for term in terms for label in term if not label.startswith(_ELLIPSIS)]
    return [*_of_ellipsis(terms), *(label for label in every if every.count(label) == 1)]


def _of_ellipsis(terms: list[list[str]]) -> list[str]:
    return sorted({label for term in terms for label in term if label.startswith(_ELLIPSIS)})
