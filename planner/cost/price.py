"""Gives the price of an hour of a card: from the rents in its record, or from the user's words.

In: Prices, or text such as "2.49 USD/h". Out: HourlyPrice. Convention: one price is a range whose
ends are equal; currencies are three-letter codes and are never converted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from planner.errors import UsageError
from planner.hardware.specs import Price

_RECORDED_CURRENCY = "USD"  # Price.usd_per_hour
_FORM = "write it like 2.49 USD/h or EUR 2.49/h"
_AMOUNT = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?(?:inf(?:inity)?|nan)"
_CURRENCY = r"[a-z]{3}"
_PRICE = re.compile(
    rf"\s*(?:(?P<before>{_CURRENCY})\s*)?(?P<amount>{_AMOUNT})\s*(?:(?P<after>{_CURRENCY})\s*)?"
    r"(?:/\s*(?P<per>[a-z-]+)\s*)?",
    re.IGNORECASE | re.ASCII,
)
_MOST = 1e9  # an hour, in any currency: a price above this is a mistake
_HOUR = ("h", "hr", "hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyPrice:
    """The rent of one card for an hour."""

    low: float
    """Lowest rent, in `currency`."""
    high: float
    """Highest rent, in `currency`."""
    currency: str
    """Three letters."""
    basis: str
    """Provider and date of the price, or the words of the user."""

    def for_hours(self, hours: float) -> tuple[float, float]:
        """Returns the rent of so many hours, low and high, in `currency`."""
        return hours * self.low, hours * self.high


def rent(prices: Iterable[Price]) -> HourlyPrice | None:
    """Returns the range of the rents in a card's record; None where it has no rent.

    A price to buy is no rent: the cost of an hour of a bought card depends on its years of use.
    """
    asked = sorted(
        (price.usd_per_hour, price.provider, price.date)
        for price in prices
        if price.usd_per_hour is not None
    )
    if not asked:
        return None
    said = [f"{provider} {usd:g} ({date})" for usd, provider, date in asked]
    low, high = asked[0][0], asked[-1][0]
    number = "" if len(asked) == 1 else f"{len(asked)} rents, "
    basis = f"{number}{_RECORDED_CURRENCY} an hour: {', '.join(said)}"
    return HourlyPrice(low=low, high=high, currency=_RECORDED_CURRENCY, basis=basis)


def parse_price(text: str) -> HourlyPrice:
    """Reads the price for an hour in "2.49 USD/h", "2.49USD/h" or "EUR 2.49/h".

    Raises:
        UsageError: no currency or two, not for an hour, negative, above 10**9, or not finite.
    """
    match = _PRICE.fullmatch(text)
    if match is None:
        raise UsageError(f"price {text!r} is not an amount, a currency and /h; {_FORM}")
    amount, per = float(match["amount"]), match["per"]
    named = [code for code in (match["before"], match["after"]) if code]
    if len(named) != 1:
        found = "names two currencies" if named else "names no currency"
        raise UsageError(f"price {text!r} {found}, where one three-letter code is asked; {_FORM}")
    if per is None or per.lower() not in _HOUR:
        found = "does not say for how long" if per is None else f"is per {per}"
        raise UsageError(f"price {text!r} {found}, where a price per hour is asked; {_FORM}")
    if not math.isfinite(amount):
        raise UsageError(f"price {text!r} is not a finite number; {_FORM}")
    if amount > _MOST:
        raise UsageError(f"price {text!r} is more than {_MOST:g} an hour; {_FORM}")
    if amount < 0:
        raise UsageError(f"price {text!r} is negative, where 0 or more is asked; {_FORM}")
    currency = named[0].upper()
    return HourlyPrice(low=amount, high=amount, currency=currency, basis=f"as given: {_said(text)}")


def _said(text: str) -> str:
    return " ".join(text.split())
