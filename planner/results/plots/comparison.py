"""Cards next to each other: throughput, the largest batch, and the figure that they are ranked by.

In: CardComparison. Out: a Figure. Convention: the best card is on top; a range is drawn from its
low to its high end; what is not known has no bar and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.results.comparison import CardComparison, ComparedCard, RankBy
from planner.results.palette import MAIN, PALE, SECOND
from planner.results.plots.canvas import label_bars, new_figure, title_lines
from planner.units import counted, format_bytes, format_range, format_significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES, _BAR_INCHES, _FRAME_INCHES = 9.5, 0.3, 1.35
_KEY = "cards with their usable memory; blue fits, orange does not"
_UNKNOWN = "not known"
_LETTERS = 30  # as wide as the axes of one figure


def comparison_figure(comparison: CardComparison) -> Figure:
    """Returns a row of bars for each card; call it within own_style().

    Raises:
        UsageError: there is no card.
    """
    cards = comparison.ranking
    if not cards:
        raise UsageError(f"there is nothing to plot: no card was compared for {comparison.target}")
    columns = [_throughput, _largest]
    if any(card.money for card in cards):
        columns.append(_money)
    if comparison.by is RankBy.ENERGY:
        columns.append(_energy)
    figure = new_figure(_WIDTH_INCHES, _FRAME_INCHES + _BAR_INCHES * len(cards))
    found = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, draw in zip(found, columns, strict=True):
        draw(axes, cards)
    first = found[0]
    first.set_yticks(
        range(len(cards)),
        [f"{one.requested} ({format_bytes(one.usable_memory_bytes)})" for one in cards],
    )
    first.invert_yaxis()
    missing = (
        f"; {counted(len(comparison.left_out), 'card')} left out" if comparison.left_out else ""
    )
    title = f"{comparison.target}, ranked by {comparison.by.value}{missing}"
    figure.suptitle(title_lines(title, _KEY), x=0.01, ha="left", fontsize=9)
    return figure


def _throughput(axes: Axes, cards: Sequence[ComparedCard]) -> None:
    labels = [
        _UNKNOWN
        if one.samples_per_s is None
        else f"{format_significant(one.samples_per_s)} at batch {one.batch_size}"
        + ("" if one.fits else ", does not fit")
        for one in cards
    ]
    _bars(axes, [one.samples_per_s for one in cards], labels, cards, "samples a second")


def _largest(axes: Axes, cards: Sequence[ComparedCard]) -> None:
    labels = [
        _UNKNOWN
        if one.max_batch_size is None
        else f"{one.max_batch_size}{' or more' if one.max_batch_is_bound else ''}"
        for one in cards
    ]
    _bars(axes, [one.max_batch_size for one in cards], labels, cards, "largest batch")


def _money(axes: Axes, cards: Sequence[ComparedCard]) -> None:
    currencies = {one.currency for one in cards if one.money}
    name = f"rent of an epoch, {' or '.join(sorted(map(str, currencies)))}"
    _ranges(axes, [one.money for one in cards], [one.currency or "" for one in cards], cards, name)


def _energy(axes: Axes, cards: Sequence[ComparedCard]) -> None:
    _ranges(
        axes, [one.kwh for one in cards], ["kWh"] * len(cards), cards, "energy of an epoch, kWh"
    )


def _bars(
    axes: Axes,
    values: Sequence[float | None],
    labels: Sequence[str],
    cards: Sequence[ComparedCard],
    name: str,
) -> None:
    colours = [MAIN if one.fits else SECOND for one in cards]
    widths = [value or 0.0 for value in values]
    bars = axes.barh(range(len(cards)), widths, color=colours, height=0.6, gid=name)
    label_bars(axes, bars, labels, letters=_LETTERS)
    axes.set_xlabel(name)


def _ranges(
    axes: Axes,
    values: Sequence[tuple[float, float] | None],
    units: Sequence[str],
    cards: Sequence[ComparedCard],
    name: str,
) -> None:
    """Draws low ends as bars, and what is between both ends as a pale one behind them."""
    ends = [value or (0.0, 0.0) for value in values]
    labels = [
        _UNKNOWN if value is None else format_range(value, unit)
        for value, unit in zip(values, units, strict=True)
    ]
    axes.barh(range(len(cards)), [high for _, high in ends], color=PALE, height=0.6, gid="high")
    colours = [MAIN if one.fits else SECOND for one in cards]
    low = axes.barh(
        range(len(cards)), [one for one, _ in ends], color=colours, height=0.6, gid=name
    )
    label_bars(axes, low, labels, beyond=[high for _, high in ends], letters=_LETTERS)
    axes.set_xlabel(name)
