"""Chooses the picture of a result.

In: a result, and for an estimate a card and a batch. Out: a Figure of matplotlib. Convention: an
estimate with recorded allocations has its timeline; else the parts of its peak, and the title says
how to get the timeline.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import UsageError
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.results.plots.breakdown import breakdown_figure, cards_figure
from planner.results.plots.canvas import own_style, write_picture
from planner.results.plots.comparison import comparison_figure
from planner.results.plots.curve import curve_figure
from planner.results.plots.roofline import roofline_figure
from planner.results.plots.timeline import timeline_figure
from planner.results.timelines import timelines_of
from planner.results.words import step_words
from planner.units import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_TIMELINE = (
    "no timeline: its allocations are not recorded in this result (planner estimate --save FILE, "
    "or keep_allocations=True)"
)


@singledispatch
def figure_of(result: object) -> Figure:
    """Returns the picture of a result.

    Raises:
        UsageError: there is none, or the result lacks what it shows.
        UnsupportedPlatformError: matplotlib is not installed.
    """
    raise UsageError(
        f"there is no plot of a {type(result).__name__}: --plot is for the results of estimate, "
        "curve, compare and inspect"
    )


@figure_of.register(Estimate)
def _(estimate: Estimate) -> Figure:
    return estimate_figure(estimate)


@figure_of.register(Curve)
def _(curve: Curve) -> Figure:
    with own_style():
        return curve_figure(curve)


@figure_of.register(CardComparison)
def _(comparison: CardComparison) -> Figure:
    with own_style():
        return comparison_figure(comparison)


@figure_of.register(Inspection)
def _(inspection: Inspection) -> Figure:
    with own_style():
        return roofline_figure(inspection)


def estimate_figure(
    estimate: Estimate, *, gpu: str | None = None, batch_size: int | None = None
) -> Figure:
    """Returns the timeline of a card, the first without `gpu`, at a batch, that of the run without.

    Without recorded allocations it returns the parts of the peak; of a survey of all cards, without
    `gpu`, the device total on each.

    Raises:
        UsageError: the card is not in it, the batch cannot be known, or the parts are not known.
        UnsupportedPlatformError: matplotlib is not installed.
    """
    entry = estimate.gpu(gpu)
    place = next(index for index, one in enumerate(estimate.gpus) if one is entry)
    is_recorded = place < len(estimate.allocations) and estimate.allocations[place] is not None
    with own_style():
        if is_recorded and (gpu is not None or not estimate.is_survey):
            batches = timelines_of(estimate, place)
            figures = batches.at(batches.batch_size if batch_size is None else batch_size)
            return timeline_figure(figures, entry, _title(estimate, entry, figures.batch_size))
        if batch_size not in (None, estimate.config.batch_size):
            raise UsageError(f"batch {batch_size} is not in this result: {_NO_TIMELINE}")
        if estimate.is_survey and gpu is None:
            return cards_figure(estimate.gpus, f"{estimate.target}, {step_words(estimate.config)}")
        batch = estimate.config.batch_size
        return breakdown_figure(entry, _title(estimate, entry, batch), _NO_TIMELINE)


def _title(estimate: Estimate, entry: DeviceEstimate, batch_size: int) -> str:
    words = step_words(replace(estimate.config, batch_size=batch_size))
    cards = estimate.gpus
    is_first_of_several = len(cards) > 1 and entry is cards[0]
    more = f" (the first of {counted(len(cards), 'card')})" if is_first_of_several else ""
    return f"{estimate.target}, {words}, on {entry.name}{more}"


def write_plot(result: object, file: Path) -> None:
    """Writes the picture of a result to a file, whole or not at all.

    Raises:
        UsageError: there is none, or the file's name ends in no known format.
        UnsupportedPlatformError: matplotlib is not installed. OutputError: it cannot be written.
    """
    write_picture(figure_of(result), file)
