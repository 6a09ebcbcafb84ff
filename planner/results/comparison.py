"""The result of a comparison of cards: the same step on each, ranked by time, cost or energy.

In: ComparedCards. Out: CardComparison. Sizes in bytes, times in seconds, epochs in hours.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.errors import UsageError
from planner.results.csv_form import Cell, csv_text, ends
from planner.results.estimate import (
    SCHEMA_VERSION,
    Versions,
    asked_config_dict,
    weight_documents,
)
from planner.results.result import Result
from planner.results.shown import Shown
from planner.results.values import NO_VALUES_READ, ValuesResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planner.results.schema.comparison import ComparedCardDocument, ComparisonDocument

_COLUMNS = (
    "rank", "requested", "name", "usable_memory_bytes", "fits", "max_batch_size", "batch_size",
    "step_s", "samples_per_s", "bound", "epoch_hours", "kwh_low", "kwh_high", "money_low",
    "money_high", "currency", "price_basis",
)  # fmt: skip


class RankBy(str, Enum):
    """The figure that cards are ranked by."""

    TIME = "time"
    """Samples a second, the most first."""
    COST = "cost"
    """Rent of an epoch, the least first."""
    ENERGY = "energy"
    """kWh of an epoch, the least first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCard:
    """One card. Times are at `batch_size`, which need not be the largest."""

    requested: str
    """The card in the words of the caller, or its id."""
    name: str
    """Full name of the card."""
    usable_memory_bytes: int
    """Memory that a process can have on it."""
    fits: bool
    """Whether the step fits at the batch that is compared."""
    max_batch_size: int | None = None
    """Largest batch that fits; 0: batch 1 does not; None: not known."""
    batch_size: int | None = None
    """Batch of the times; None: none fits, or none could be timed."""
    step_s: float | None = None
    """Seconds of one optimizer step; None: not known."""
    samples_per_s: float | None = None
    """Samples of the step over its time; None: not known."""
    bound: str | None = None
    """Name of the Bound of the step; None: not known."""
    epoch_hours: float | None = None
    """Hours of an epoch; None: no size of the dataset, or no time is known."""
    kwh: tuple[float, float] | None = None
    """Energy of an epoch, low and high; None: no size of the dataset, or no time is known."""
    money: tuple[float, float] | None = None
    """Rent of an epoch in `currency`, low and high; None: no price is known."""
    currency: str | None = None
    """Three letters; None: no price is known."""
    price_basis: str | None = None
    """Provider of the price, and its date; None: no price is known."""
    max_batch_is_bound: bool = False
    """The search stopped at its bound with everything fitting: more may fit."""
    id: str | None = None
    """Id of the card's record."""

    def to_dict(self) -> ComparedCardDocument:
        """Returns the entry of the JSON list `cards`."""
        return {
            "requested": self.requested,
            "name": self.name,
            "usable_memory_bytes": self.usable_memory_bytes,
            "fits": self.fits,
            "max_batch_size": self.max_batch_size,
            "max_batch_is_bound": self.max_batch_is_bound,
            "batch_size": self.batch_size,
            "step_s": self.step_s,
            "samples_per_s": self.samples_per_s,
            "bound": self.bound,
            "epoch_hours": self.epoch_hours,
            "kwh": None if self.kwh is None else list(self.kwh),
            "money": None if self.money is None else list(self.money),
            "currency": self.currency,
            "price_basis": self.price_basis,
            "id": self.id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A card that could not be compared, and why."""

    requested: str
    """The card in the words of the caller, or its id."""
    reason: str
    """Why it was left out."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CardComparison(Result, Shown):
    """The cards, and the figure that they are ranked by."""

    target: str
    """The model in the words of the caller, or the name of the live object."""
    by: RankBy
    """The figure that cards are ranked by."""
    cards: tuple[ComparedCard, ...]
    """One for each card, in the order of the call; `ranking` has the best first."""
    left_out: tuple[LeftOut, ...]
    """Cards that could not be compared."""
    epoch_samples: int | None
    """Samples of an epoch; None: no size of a dataset."""
    config: StepConfig
    """How the step was run; its precision is settled."""
    versions: Versions
    """Versions of the software that made the figures."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
    engine: str = "emulated"
    """Device of the step, always "emulated"."""
    values: ValuesResult = NO_VALUES_READ
    """Values that the step reads from the card."""
    weight_dtypes: tuple[WeightDtype, ...] = ()
    """Parameters by dtype, most bytes first."""
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument that the model was built with."""

    @property
    def ranking(self) -> tuple[ComparedCard, ...]:
        """Returns the cards, best first."""
        return ranked(self.cards, self.by)

    @property
    def best(self) -> ComparedCard | None:
        """Returns the best card that fits and has the ranked figure; None if there is none."""
        fitting = (card for card in self.ranking if card.fits)
        return next((card for card in fitting if _value(card, self.by) is not None), None)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Returns a sentence on cards without the ranked figure; empty if all have it."""
        without = [card.requested for card in self.ranking if _value(card, self.by) is None]
        if not without:
            return ()
        return (f"ranked last by {self.by.value}, {_MISSING[self.by]}: {', '.join(without)}",)

    def plot(self) -> Figure:
        """Returns a picture of the cards, as a figure of matplotlib.

        Raises:
            UsageError: no card was compared.
            UnsupportedPlatformError: matplotlib is not installed.
        """
        from planner.results.plots.of_results import figure_of

        return figure_of(self)

    def to_dict(self) -> ComparisonDocument:
        """Returns the JSON document, in stable order, with plain types only; best card first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "by": self.by.value,
            "epoch_samples": self.epoch_samples,
            "versions": self.versions.to_dict(),
            "config": asked_config_dict(self.config),
            "weight_dtypes": weight_documents(self.weight_dtypes),
            "cards": [card.to_dict() for card in self.ranking],
            "left_out": [
                {"requested": card.requested, "reason": card.reason} for card in self.left_out
            ],
            "remarks": list(self.remarks),
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
        }

    def to_csv(self) -> str:
        """Returns a line for each card, best first; an unknown figure is empty."""
        return csv_text(_COLUMNS, [_row(rank, card) for rank, card in enumerate(self.ranking, 1)])


def ranked(cards: Sequence[ComparedCard], by: RankBy) -> tuple[ComparedCard, ...]:
    """Returns the best first: cards that fit, cards that do not, cards without the ranked figure.

    A range counts by its middle; equal cards are in the order of throughput, then of name.

    Raises:
        UsageError: by cost, and prices are in several currencies.
    """
    currencies = sorted({card.currency for card in cards if card.money and card.currency})
    if by is RankBy.COST and len(currencies) > 1:
        raise UsageError(
            f"prices are in {' and '.join(currencies)}, which cannot be ranked by cost "
            "without a rate of exchange; give all of them in one currency"
        )
    return tuple(sorted(cards, key=lambda card: _order(card, by)))


_MISSING = {
    RankBy.TIME: "because no throughput is known",
    RankBy.COST: "because no rent for an epoch is known (--price gives one)",
    RankBy.ENERGY: "because no energy of an epoch is known",
}


def _order(card: ComparedCard, by: RankBy) -> tuple[bool, bool, float, float, str]:
    value, time_s = _value(card, by), _value(card, RankBy.TIME)
    return (
        value is None,
        not card.fits,
        0.0 if value is None else value,
        math.inf if time_s is None else time_s,
        card.requested,
    )


def _value(card: ComparedCard, by: RankBy) -> float | None:
    """Returns the ranked figure; less is better."""
    if by is RankBy.TIME:
        return None if card.samples_per_s is None else 1 / card.samples_per_s
    found = card.money if by is RankBy.COST else card.kwh
    return None if found is None else sum(found) / 2


def _row(rank: int, card: ComparedCard) -> dict[str, Cell]:
    return {
        "rank": rank,
        "requested": card.requested,
        "name": card.name,
        "usable_memory_bytes": card.usable_memory_bytes,
        "fits": card.fits,
        "max_batch_size": card.max_batch_size,
        "batch_size": card.batch_size,
        "step_s": card.step_s,
        "samples_per_s": card.samples_per_s,
        "bound": card.bound,
        "epoch_hours": card.epoch_hours,
        **ends("kwh", card.kwh),
        **ends("money", card.money),
        "currency": card.currency,
        "price_basis": card.price_basis,
    }
