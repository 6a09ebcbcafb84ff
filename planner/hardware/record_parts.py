"""Reads the parts that several kinds of records have: names, prices, a source for each section.

In: the mapping of a record, as Fields. Out: RecordNames, Prices, and sources by section.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.hardware.fields import Fields
from planner.hardware.names import RecordNames
from planner.hardware.specs import Price


def names_in(record: Fields, file: str) -> RecordNames:
    """Reads the four keys that name a record."""
    return RecordNames(
        file=file,
        id=record.text("id", r"[a-z0-9]+(-[a-z0-9]+)*"),
        name=record.text("name"),
        aliases=record.texts("aliases"),
        assumed_for=record.texts_by_text("assumed_for"),
    )


def read_names(value: object, file: str) -> RecordNames:
    """Reads the names in a record or in its first lines; ignores other keys.

    Raises:
        HardwareDatabaseError: not a mapping, or one of the four keys is wrong.
    """
    return names_in(Fields(value, file=file), file)


def price_in(
    entry: Fields, *, rent: str, purchase: str, most_rent: float, most_purchase: float
) -> Price:
    """Reads one price in USD: per hour under the key `rent`, or to buy under `purchase`."""
    price = Price(
        provider=entry.text("provider"),
        date=entry.text("date", r"\d{4}-\d{2}(-\d{2})?"),
        usd_per_hour=entry.optional_number(rent, 0.01, most_rent),
        usd_to_buy=entry.optional_number(purchase, 10, most_purchase),
    )
    if (price.usd_per_hour is None) == (price.usd_to_buy is None):
        raise entry.fail(rent, f"give either {rent} or {purchase}")
    entry.finish()
    return price


def sources_in(record: Fields, needed: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Reads the sources of the figures: exactly one text for each needed entry."""
    section = record.section("sources")
    sources = tuple((key, section.text(key)) for key in needed)
    section.finish()
    return sources
