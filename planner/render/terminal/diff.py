"""A Difference as a report for people: what grew and what shrank between two estimates.

In: Difference. Out: a renderable. Convention: plain ASCII; figures are rounded, the JSON has them
whole.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from planner.render.growth_words import figure_lines, growth, part_lines
from planner.render.terminal.layout import titled_lists, verdict_lines
from planner.results.difference import CardDifference, Difference
from planner.units import format_bytes

_MOST = 10


def render(found: Difference, *, verbose: bool = False) -> RenderableType:
    """Returns the report: the growth on each card, its figures, and the parts that changed."""
    verdicts = [(card.gpu, _verdict(card)) for card in found.cards]
    sections: list[tuple[str, list[str]]] = [
        (
            "compared",
            [
                f"before: {found.before}, {found.target_before}",
                f"after: {found.after}, {found.target_after}",
            ],
        ),
        (
            "settings",
            [f"{name}: {before} -> {after}" for name, before, after in found.changed_settings],
        ),
    ]
    for card in found.cards:
        sections += _of_card(card, len(card.difference.parts) if verbose else _MOST)
    sections += [
        ("in one of the two alone", list(found.left_out)),
        ("not compared", list(found.remarks)),
        ("warnings", list(found.warnings)),
    ]
    return Group(verdict_lines(verdicts), *titled_lists(sections))


def _verdict(card: CardDifference) -> Text:
    grown, before = card.difference.grown_bytes, card.before.device_total_bytes
    sizes = f"{format_bytes(before)} -> {format_bytes(card.after.device_total_bytes)}"
    style = "bold red" if grown > 0 else "bold green"
    if not grown:
        return Text(f"peak unchanged, {format_bytes(before)}", style="bold")
    return Text(f"peak {growth(grown, before)}, {sizes}", style=style)


def _of_card(card: CardDifference, most: int) -> list[tuple[str, list[str]]]:
    parts = card.difference.parts
    grown = [change for change in parts if change.grown_bytes > 0]
    shrunk = [change for change in parts if change.grown_bytes < 0]
    if card.difference.is_none:
        return [(f"{card.gpu}: figures", ["nothing differs"])]
    return [
        (f"{card.gpu}: figures", figure_lines(card.difference)),
        (f"{card.gpu}: grew at the peak", part_lines(grown, most)),
        (f"{card.gpu}: shrank at the peak", part_lines(shrunk, most)),
    ]
