"""The rent of a card: from its record, and from the words of the user."""

from __future__ import annotations

import pytest

from planner.cost.price import HourlyPrice, parse_price, rent
from planner.errors import UsageError
from planner.hardware.specs import Price


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("2.49 USD/h", 2.49, "USD"), ("2.49USD/h", 2.49, "USD"), ("EUR 2.49/h", 2.49, "EUR"),
        ("eur2.49 / hour", 2.49, "EUR"), (" 3 CHF/hr ", 3.0, "CHF"), ("0 USD/h", 0.0, "USD"),
        (".5 USD/H", 0.5, "USD"), ("2.49EUR/h", 2.49, "EUR"), ("1e2 JPY/h", 100.0, "JPY"),
    ],
)  # fmt: skip
def test_parse_price(text: str, amount: float, currency: str) -> None:
    found = parse_price(text)
    assert (found.low, found.high, found.currency) == (amount, amount, currency)
    assert found.basis == f"as given: {' '.join(text.split())}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2.49/h", "names no currency"),
        ("2.49", "names no currency"),
        ("inf/h", "names no currency"),
        ("USD 2.49 EUR/h", "names two currencies"),
        ("2.49 USD", "does not say for how long"),
        ("60 USD/day", "is per day"),
        ("2.49 USD/GPU-hour", "is per GPU-hour"),
        ("-2.49 USD/h", "is negative"),
        ("1e308 USD/h", "is more than"),
        ("inf USD/h", "is not a finite number"),
        ("-inf USD/h", "is not a finite number"),
        ("nan USD/h", "is not a finite number"),
        ("1e999 USD/h", "is not a finite number"),
        ("", "is not an amount, a currency and /h"),
        ("$2.49/h", "is not an amount"),
        ("2,49 EUR/h", "is not an amount"),
        ("cheap", "is not an amount"),
        ("USD/h", "is not an amount"),
        ("2.49 DOLLARS/h", "is not an amount"),
        ("2.49 USD/h per card", "is not an amount"),
    ],
)
def test_parse_price_refuses(text: str, found: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_price(text)
    message = str(raised.value)
    assert message.startswith(f"price {text!r} {found}")
    assert message.endswith("write it like 2.49 USD/h or EUR 2.49/h")


def price(usd: float | None, provider: str = "Lambda", buy: float | None = None) -> Price:
    return Price(provider=provider, date="2026-11-23", usd_per_hour=usd, usd_to_buy=buy)


def test_one_rent_says_who_asks_it_and_when() -> None:
    assert rent([price(2.79)]) == HourlyPrice(
        low=2.79, high=2.79, currency="USD", basis="USD an hour: Lambda 2.79 (2026-11-23)"
    )


def test_several_rents_are_a_range_that_says_so() -> None:
    found = rent([price(2.79), price(1.39, "RunPod"), price(None, "MSRP", buy=16250)])
    assert found is not None
    assert (found.low, found.high) == (1.39, 2.79)
    assert found.basis == (
        "2 rents, USD an hour: RunPod 1.39 (2026-11-23), Lambda 2.79 (2026-11-23)"
    )


@pytest.mark.parametrize("prices", [[], [price(None, buy=1599)]])
def test_no_rent_is_none(prices: list[Price]) -> None:
    assert rent(prices) is None


def test_rent_of_some_hours() -> None:
    found = HourlyPrice(low=1.0, high=2.5, currency="EUR", basis="")
    assert found.for_hours(0.5) == (0.5, 1.25)
