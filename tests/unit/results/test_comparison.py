"""A CardComparison: who comes first, what is said of the rest, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from planner.errors import UsageError
from planner.results.comparison import CardComparison, ComparedCard, RankBy, ranked

Card = Callable[..., ComparedCard]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        # 1000, 500 and 400 samples/s; then 50 that does not fit; then no time at all
        (RankBy.TIME, ["h100", "a100", "rtx-4090", "t4", "p100"]),
        # middles 0.35 and 0.4, then 0.2 that does not fit; then no price, the faster one first
        (RankBy.COST, ["a100", "h100", "t4", "rtx-4090", "p100"]),
        # middles 0.06, 0.065, 0.09, then 0.15 that does not fit; then no energy
        (RankBy.ENERGY, ["h100", "a100", "rtx-4090", "t4", "p100"]),
    ],
)
def test_ranked(comparison: CardComparison, by: RankBy, names: list[str]) -> None:
    assert [card.requested for card in ranked(comparison.cards, by)] == names
    assert [card.requested for card in ranked(comparison.cards[::-1], by)] == names


def test_equal_cards_are_in_the_order_of_their_names(card: Card) -> None:
    found = ranked([card("b"), card("c"), card("a")], RankBy.TIME)
    assert [one.requested for one in found] == ["a", "b", "c"]
    assert ranked([], RankBy.COST) == ()


def test_cards_that_have_nothing_to_be_ranked_by_are_named(comparison: CardComparison) -> None:
    assert comparison.remarks == (
        "ranked last by cost, because no rent for an epoch is known (--price gives one): "
        "rtx-4090, p100",
    )
    by_time = replace(comparison, by=RankBy.TIME)
    assert by_time.remarks == ("ranked last by time, because no throughput is known: p100",)
    assert replace(by_time, cards=by_time.cards[:3]).remarks == ()
    by_energy = replace(comparison, by=RankBy.ENERGY)
    assert by_energy.remarks == (
        "ranked last by energy, because no energy of an epoch is known: p100",
    )


def test_several_currencies_cannot_be_ranked_by_cost(card: Card) -> None:
    cards = [card("a", 1.0, (1.0, 1.0)), card("b", 2.0, (1.0, 1.0), currency="EUR")]
    with pytest.raises(UsageError, match=r"prices are in EUR and USD.*in one currency"):
        ranked(cards, RankBy.COST)
    assert [one.requested for one in ranked(cards, RankBy.TIME)] == ["b", "a"]


def test_json_form(comparison: CardComparison) -> None:
    document = json.loads(json.dumps(comparison.to_dict()))
    assert list(document) == [
        "schema_version", "target", "engine", "by", "epoch_samples", "versions", "config",
        "weight_dtypes", "cards", "left_out", "remarks", "assumptions", "warnings", "values",
        "model_arguments",
    ]  # fmt: skip
    assert (document["schema_version"], document["by"]) == (1, "cost")
    assert document["cards"][0] == {
        "requested": "a100", "name": "NVIDIA A100", "usable_memory_bytes": 16 << 30, "fits": True,
        "max_batch_size": 100, "max_batch_is_bound": False, "batch_size": 16,
        "step_s": 0.032, "samples_per_s": 500.0,
        "bound": "compute", "epoch_hours": 0.2, "kwh": [0.06, 0.07], "money": [0.3, 0.4],
        "currency": "USD", "price_basis": "USD an hour: Lambda 2 (2026-11-23)",
        "id": None,
    }  # fmt: skip
    assert document["left_out"] == [
        {"requested": "mi300x", "reason": "only NVIDIA cards can be emulated"}
    ]
    last = document["cards"][-1]
    assert [last[key] for key in ("step_s", "epoch_hours", "kwh", "money")] == [None] * 4


def test_csv_holds_the_same_figures(comparison: CardComparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    for row, card in zip(rows, comparison.ranking, strict=True):
        assert (row["requested"], row["name"]) == (card.requested, card.name)
        assert row["samples_per_s"] == (
            "" if card.samples_per_s is None else f"{card.samples_per_s}"
        )
        assert row["money_low"] == ("" if card.money is None else f"{card.money[0]}")
        assert row["kwh_high"] == ("" if card.kwh is None else f"{card.kwh[1]}")
    assert [row["fits"] for row in rows] == ["true", "true", "false", "true", "true"]
