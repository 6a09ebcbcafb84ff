"""What a comparison of cards gives: the same step on each, ranked by time, cost or energy.

In: ComparedCards. Out: CardComparison. Sizes in bytes, times in seconds, epochs in hours.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.errors import UsageError
from planner.results.csv_form import Cell, csv_text, ends
from planner.results.estimate import SCHEMA_VERSION, Versions, asked_config_dict
from planner.results.values import NO_VALUES_READ, ValuesResult

_COLUMNS = (
    "rank", "requested", "name", "usable_memory_bytes", "fits", "max_batch_size", "batch_size",
    "step_s", "samples_per_s", "bound", "epoch_hours", "kwh_low", "kwh_high", "money_low",
    "money_high", "currency", "price_basis",
)  # fmt: skip


class RankBy(str, Enum):
    """What the best card is best at."""

    TIME = "time"  # samples a second
    COST = "cost"  # rent of an epoch
    ENERGY = "energy"  # kWh of an epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCard:
    """One card. Times are at `batch_size`, which need not be the largest; ranges are (low, high).

    None is what is not known: `money` without a price, `epoch_hours` and `kwh` without a dataset.
    `price_basis` says who asks the price, and since when; `max_batch_is_bound` that the search for
    the largest batch stopped at its bound with everything fitting. `id` is that of the record.
    """

    requested: str
    name: str
    usable_memory_bytes: int
    fits: bool
    max_batch_size: int | None = None
    batch_size: int | None = None
    step_s: float | None = None
    samples_per_s: float | None = None
    bound: str | None = None
    epoch_hours: float | None = None
    kwh: tuple[float, float] | None = None
    money: tuple[float, float] | None = None
    currency: str | None = None
    price_basis: str | None = None
    max_batch_is_bound: bool = False
    id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `cards`."""
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
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardComparison:
    """The cards, and what they are ranked by. `epoch_samples` is the dataset, None without one.

    `notes` are as in Estimate.
    """

    target: str
    by: RankBy
    cards: tuple[ComparedCard, ...]
    left_out: tuple[LeftOut, ...]
    epoch_samples: int | None
    config: StepConfig
    versions: Versions
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    engine: str = "emulated"
    values: ValuesResult = NO_VALUES_READ
    weight_dtypes: tuple[WeightDtype, ...] = ()
    model_arguments: tuple[tuple[str, Scalar], ...] = ()

    @property
    def ranking(self) -> tuple[ComparedCard, ...]:
        """The cards, best first."""
        return ranked(self.cards, self.by)

    @property
    def best(self) -> ComparedCard | None:
        """The first of the ranking; None where it does not fit, or has nothing to be ranked by."""
        fitting = (card for card in self.ranking if card.fits)
        return next((card for card in fitting if _value(card, self.by) is not None), None)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the ranking passes over: cards that have nothing to be ranked by."""
        without = [card.requested for card in self.ranking if _value(card, self.by) is None]
        if not without:
            return ()
        return (f"ranked last by {self.by.value}, {_MISSING[self.by]}: {', '.join(without)}",)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, in stable order, with plain types only; the best card is first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "by": self.by.value,
            "epoch_samples": self.epoch_samples,
            "versions": self.versions.to_dict(),
            "config": asked_config_dict(self.config),
            "weight_dtypes": [one.to_dict() for one in self.weight_dtypes],
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
        """A line for each card, best first; an unknown figure is empty."""
        return csv_text(_COLUMNS, [_row(rank, card) for rank, card in enumerate(self.ranking, 1)])


def ranked(cards: Sequence[ComparedCard], by: RankBy) -> tuple[ComparedCard, ...]:
    """Best first: cards that fit before those that do not, those with nothing to rank by last.

    A range counts by its middle; cards that are equal are in the order of throughput, then of name.

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
    """What is compared; less is better."""
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
