"""The panel of a CardComparison: cards by throughput, energy and rent.

In: CardComparison. Out: a dict for templates/charts.html.j2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from planner.render.html.panels.parts import CHARTED, NOTHING, bars, charts_panel, table
from planner.results.comparison import CardComparison
from planner.results.one_line import ranked_by
from planner.results.words import range_words, step_words
from planner.units import format_significant


def comparison_panel(result: CardComparison) -> dict[str, Any]:
    """Returns the panel."""

    def points(values: Iterable[float | None]) -> list[dict[str, Any]]:
        cards = zip(result.ranking, values, strict=True)
        return [
            {"y": value, "name": card.requested, "tone": "plain" if card.fits else "muted"}
            for card, value in cards
        ][:CHARTED]

    rows = [
        (
            card.requested,
            card.name,
            "yes" if card.fits else "no",
            _largest(card.max_batch_size, is_bound=card.max_batch_is_bound),
            NOTHING if card.batch_size is None else str(card.batch_size),
            NOTHING if card.samples_per_s is None else format_significant(card.samples_per_s),
            NOTHING if card.epoch_hours is None else f"{format_significant(card.epoch_hours)} h",
            range_words(card.kwh, "kWh") or NOTHING,
            range_words(card.money, card.currency or "") or NOTHING,
        )
        for card in result.ranking
    ]
    shown = ("card", "full name", "fits", "largest batch", "batch", "samples/s", "epoch", "energy",
             "cost")  # fmt: skip
    best = result.best
    lead = "None of these cards fits and can be ranked."
    if best is not None:
        lead = f"Best by {result.by.value}: {best.name} with {ranked_by(best, result.by)}."
    tables = [table("All cards, the best first", shown, rows)]
    if result.left_out:
        left = [(card.requested, card.reason) for card in result.left_out]
        tables.append(table("Left out", ("card", "why"), left))
    charts = [("Throughput, samples/s",
               bars("Throughput of each card", "number",
                     points(c.samples_per_s for c in result.ranking)))]  # fmt: skip
    for title, ends in (("Energy of an epoch, kWh, in the middle of its range", "kwh"),
                        ("Rent of an epoch, in the middle of its range", "money")):  # fmt: skip
        values = [_middle(getattr(card, ends)) for card in result.ranking]
        if any(value is not None for value in values):
            charts.append((title, bars(title, "number", points(values))))
    lines = [step_words(result.config), *result.remarks]
    return charts_panel(result, lines, lead, charts, tables)


def _middle(ends: tuple[float, float] | None) -> float | None:
    return None if ends is None else sum(ends) / 2


def _largest(batch_size: int | None, *, is_bound: bool) -> str:
    if batch_size is None:
        return NOTHING
    return f"{batch_size} or more" if is_bound else str(batch_size) if batch_size else "none"
