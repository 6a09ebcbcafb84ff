"""A CardComparison as a table for people, the best card first.

In: CardComparison. Out: a renderable. Convention: plain ASCII; figures are rounded; the JSON and
the CSV have them whole.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from planner.render.terminal.heading import any_batch, software, values_line
from planner.render.terminal.layout import FittedTable, closing, verdict_lines, warning_line
from planner.results.comparison import CardComparison, ComparedCard, RankBy
from planner.units import format_duration, format_range, format_significant

_NOTHING = "-"
_ORDERS = {
    RankBy.TIME: "throughput, the fastest first",
    RankBy.COST: "cost, the cheapest first",
    RankBy.ENERGY: "energy, the least first",
}
_COLUMNS = (
    "", "card", "fits", "largest batch", "batch", "step", "samples/s", "bound by", "epoch",
    "energy", "money",
)  # fmt: skip
_CARD = 1
_LEFT = (_CARD, 2, 7)
# Step, largest batch, bound by, batch, epoch, energy, money, samples/s.
_LEFT_OUT_FIRST = (5, 3, 7, 4, 8, 9, 10, 6)
_KEPT_BY = {RankBy.TIME: 6, RankBy.COST: 10, RankBy.ENERGY: 9}  # the column of the ranking stays


def render(comparison: CardComparison, *, verbose: bool = False) -> RenderableType:
    """Returns the report: the best card, all cards, those left out, prices, warnings, assumptions.

    With `verbose` it has notes on the figures too.
    """
    parts: list[RenderableType] = [verdict_lines(_verdict(comparison)), Text()]
    parts.append(_heading(comparison))
    if comparison.cards:
        parts += [Text(), _table(comparison)]
    left_out = [f"{card.requested}: {card.reason}" for card in comparison.left_out]
    sections = (
        ("ranking", comparison.remarks),
        ("not compared", left_out),
        ("prices", _prices(comparison)),
    )
    return Group(*parts, *closing(sections, comparison, verbose=verbose))


def _verdict(comparison: CardComparison) -> list[tuple[str, Text]]:
    """Returns the best card that fits, its ranked figure, and on how many cards the step fits."""
    number = sum(card.fits for card in comparison.cards)
    fits = f"fits on {number} of {len(comparison.cards)} cards"
    style = "bold green" if number else "bold red"
    best = comparison.best
    if best is None:
        return [("all cards", Text(fits, style=style)), *warning_line(comparison)]
    at = "" if best.batch_size is None else f" at batch {best.batch_size}"
    text = Text(f"{best.requested}, {_value(best, comparison.by)}{at}", style=style)
    text.append(f"; {fits}", style="not bold default")
    return [(f"best by {comparison.by.value}", text), *warning_line(comparison)]


def _value(card: ComparedCard, by: RankBy) -> str:
    """Returns the ranked figure in words: the cell of the table with its heading."""
    cell = _cells(0, card)[_KEPT_BY[by]].plain
    return f"about {cell} {'samples/s' if by is RankBy.TIME else 'an epoch'}"


def _heading(comparison: CardComparison) -> RenderableType:
    samples = comparison.epoch_samples
    epoch = "" if samples is None else f"; an epoch is {samples} samples"
    return Group(
        Text(comparison.target, style="bold"),
        Text(any_batch(comparison.config, comparison.weight_dtypes)),
        Text(f"by {_ORDERS[comparison.by]}{epoch}"),
        Text(software(comparison.versions)),
        Text(values_line(comparison.values)),
    )


def _table(comparison: CardComparison) -> RenderableType:
    kept = _KEPT_BY[comparison.by]
    last = tuple(position for position in _LEFT_OUT_FIRST if position != kept)
    return FittedTable(
        columns=_COLUMNS,
        lines=[_cells(rank, card) for rank, card in enumerate(comparison.ranking, 1)],
        left=_LEFT,
        left_out_first=last,
        folded=_CARD,
    )


def _cells(rank: int, card: ComparedCard) -> tuple[Text, ...]:
    fits = Text("yes", style="bold green") if card.fits else Text("no", style="bold red")
    figures = (
        _count(card.batch_size),
        _NOTHING if card.step_s is None else format_duration(card.step_s),
        _NOTHING if card.samples_per_s is None else format_significant(card.samples_per_s),
        card.bound or _NOTHING,
        _NOTHING if card.epoch_hours is None else f"{format_significant(card.epoch_hours)} h",
        _NOTHING if card.kwh is None else format_range(card.kwh, "kWh"),
        _NOTHING if card.money is None else format_range(card.money, card.currency or ""),
    )
    largest = f"{_count(card.max_batch_size)}{' or more' if card.max_batch_is_bound else ''}"
    return (Text(f"{rank}"), Text(card.requested), fits, Text(largest), *map(Text, figures))


def _count(count: int | None) -> str:
    return _NOTHING if count is None else str(count)


def _prices(comparison: CardComparison) -> list[str]:
    return [
        f"{card.requested}: {card.price_basis}" for card in comparison.ranking if card.price_basis
    ]
