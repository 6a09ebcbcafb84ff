"""The report of a CardComparison: golden files, what stays on a narrow terminal, what is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from planner.render.terminal.comparison import render
from planner.results.comparison import CardComparison, RankBy

Golden = Callable[[str, str], None]


def shown(comparison: CardComparison, width: int) -> str:
    console = Console(width=width, force_terminal=False, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(render(comparison))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@pytest.mark.parametrize("width", [80, 100_000], ids=["terminal", "pipe"])
def test_report_is_as_written(
    comparison: CardComparison, golden: Golden, width: int, request: pytest.FixtureRequest
) -> None:
    golden(f"report-comparison-{request.node.callspec.id}.txt", shown(comparison, width))


@pytest.mark.parametrize(
    ("by", "first", "heading"),
    [
        (RankBy.TIME, "h100", "samples/s"),
        (RankBy.COST, "a100", "money"),
        (RankBy.ENERGY, "h100", "energy"),
    ],
)
def test_what_cards_are_ranked_by_stays_on_a_narrow_terminal(
    comparison: CardComparison, by: RankBy, first: str, heading: str
) -> None:
    lines = shown(replace(comparison, by=by), 40).splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("   card")]
    assert heading in lines[start]
    assert lines[start + 1].split()[:2] == ["1", first]
    assert max(map(len, lines)) <= 40


def test_what_is_not_known_is_a_dash(comparison: CardComparison) -> None:
    (line,) = [
        line for line in shown(comparison, 100_000).splitlines() if line.startswith("5  p100")
    ]
    assert line.split() == ["5", "p100", "yes", "100", "16", "-", "-", "compute", "-", "-", "-"]


def test_without_cards_only_the_reasons_are_left(comparison: CardComparison) -> None:
    text = shown(replace(comparison, cards=()), 80)
    assert "samples/s" not in text
    assert "not compared\n- mi300x: only NVIDIA cards can be emulated" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120, 100_000])
def test_lines_are_within_the_width_plain_and_whole(comparison: CardComparison, width: int) -> None:
    text = shown(comparison, width)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for card in comparison.cards:
        assert f" {card.requested} " in words
    for sentence in (*comparison.assumptions, *comparison.remarks):
        assert sentence in words


def test_text_of_the_user_is_not_markup(comparison: CardComparison) -> None:
    text = shown(replace(comparison, target="[red]net.py[/red]"), 80)
    assert "\n\n[red]net.py[/red]\n" in text


def test_a_search_that_stopped_at_its_bound_says_or_more(comparison: CardComparison) -> None:
    card = replace(comparison.cards[0], max_batch_size=4096, max_batch_is_bound=True)
    assert "  4096 or more  " in shown(replace(comparison, cards=(card,)), 200)
    assert card.to_dict()["max_batch_is_bound"] is True


def test_the_best_card_is_named_only_where_it_fits_and_has_a_figure(
    comparison: CardComparison,
) -> None:
    at_120 = shown(replace(comparison, by=RankBy.TIME), 120).splitlines()[0]
    assert at_120 == "best by time: h100, about 1000 samples/s at batch 16; fits on 4 of 5 cards"
    none = tuple(replace(card, fits=False) for card in comparison.cards)
    assert shown(replace(comparison, cards=none), 120).startswith(
        "all cards: fits on 0 of 5 cards\n"
    )
    without = tuple(replace(card, samples_per_s=None) for card in comparison.cards)
    assert replace(comparison, cards=without, by=RankBy.TIME).best is None
