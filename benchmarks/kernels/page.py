"""Writes docs/kernels.md.

In: the kinds and their Figures. Out: Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.kernels.records import Figure, JudgedBy, Kind

ALL = "all"  # as a card
_HEAD = """\
# Kernels against published measurements

Written by `python -m benchmarks.kernels --fit`; do not edit. Every time was measured by others on \
a real card and published; [benchmarks/measurements](../benchmarks/measurements/README.md) says \
where and how. Each row is one in [results.csv](../benchmarks/kernels/results.csv) too.

Date: {date}. Error: predicted over measured time of a kernel, less 1; median and p90 without \
sign. **held-out shapes**: a fifth of the shapes, by a hash, on which no constant was fitted. \
**card left out**: shapes of a card, by constants fitted without any time of that card. \
**shapes of networks**: held-out shapes that real networks have. **before**: the median of roofs \
and shares as they were before these tables, on the same kernels.
"""
_TABLE = """
| what | card | judged by | kernels | median | p90 | median with sign | before |
|---|---|---|---|---|---|---|---|
"""


def page(kinds: Sequence[Kind[Any]], figures: Sequence[Figure], date: str) -> str:
    """Writes the whole page: for each kind its worst cards, its table and its notes."""
    parts = [_HEAD.format(date=date)]
    for kind in kinds:
        own = [one for one in figures if one.kind == kind.name]
        parts.append(f"\n## {kind.title}\n")
        parts += _worst(own)
        parts.append(_TABLE)
        parts += [_row(one) for one in own]
        if kind.notes:
            parts.append(f"\n{kind.notes.strip()}\n")
    return "".join(parts)


def _worst(figures: Sequence[Figure]) -> list[str]:
    """Returns a sentence on the card with the greatest median for each way of judging."""
    lines = []
    for judged_by in JudgedBy:
        of_cards = [one for one in figures if one.judged_by is judged_by and one.card != ALL]
        if of_cards:
            worst = max(of_cards, key=lambda one: one.median)
            lines.append(
                f"\nWorst card, {judged_by.value}: {worst.card} ({worst.part}), "
                f"{worst.median:.1%} in the median, {worst.p90:.1%} at p90.\n"
            )
    return lines


def _row(one: Figure) -> str:
    before = "" if one.before is None else f"{one.before:.1%}"
    return (
        f"| {one.part} | {one.card} | {one.judged_by.value} | {one.number} | {one.median:.1%} "
        f"| {one.p90:.1%} | {one.bias:+.1%} | {before} |\n"
    )
