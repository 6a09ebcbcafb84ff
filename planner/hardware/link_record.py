"""Reads one link record of the hardware database: from YAML units to LinkSpec.

In: the mapping of one file (hardware_db/SCHEMA.md describes the keys), and the ids of the cards
that it may name. Out: LinkSpec.
"""

from __future__ import annotations

from collections.abc import Collection

from planner.hardware.fields import Fields
from planner.hardware.link_specs import (
    BusBandwidth,
    Channels,
    Collective,
    HopLatency,
    LinkKind,
    LinkSpec,
)
from planner.hardware.record_parts import names_in, sources_in
from planner.hardware.specs import Confidence
from planner.units import KIB

# Each of these sections that is present needs an entry in `sources`.
_SOURCED = ("wire", "reached", "latency_us", "channels", "measured")
_GB = 10**9
_MICRO = 1e-6
_MOST_CARDS = 1024


def read_link(value: object, file: str, *, gpu_ids: Collection[str]) -> LinkSpec:
    """Reads and checks a whole record.

    Raises:
        HardwareDatabaseError: a key is unknown, missing, of the wrong type or out of range, a card
            is not in the database, or figures contradict one another.
    """
    record = Fields(value, file=file)
    names = names_in(record, file)
    kind = record.word("kind", LinkKind)
    wire, reached = record.section("wire"), record.section("reached")
    latency = record.section("latency_us")
    in_switch_share, least_cards = _in_switch(reached, kind)
    spec = LinkSpec(
        id=names.id,
        name=names.name,
        aliases=names.aliases,
        kind=kind,
        wire_bytes_per_s=wire.number("gb_per_s", 0.01, 100_000) * _GB,
        most_cards=wire.optional_whole("most_cards", 2, _MOST_CARDS),
        default_for=_default_for(record, kind, gpu_ids),
        ring_shares=_ring_shares(reached),
        in_switch_share=in_switch_share,
        least_cards_in_switch=least_cards,
        ring_hop=_hop(latency, "ring_hop"),
        tree_hop=_hop(latency, "tree_hop"),
        channels=_channels(record),
        measured=_measured(record),
        sources=sources_in(record, [key for key in _SOURCED if record.has(key)]),
        confidence=record.word("confidence", Confidence),
        note=record.optional_text("note"),
    )
    for part in (wire, reached, latency, record):
        part.finish()
    return spec


def _default_for(record: Fields, kind: LinkKind, gpu_ids: Collection[str]) -> tuple[str, ...]:
    cards = record.texts("default_for")
    if cards and kind.between_hosts:
        raise record.fail("default_for", f"a link of kind {kind.value} joins hosts, not cards")
    for card in cards:
        if card not in gpu_ids:
            raise record.fail(
                "default_for", f"{card!r} is not the id of a card; run `planner gpus`"
            )
    return cards


def _ring_shares(reached: Fields) -> tuple[tuple[int, float], ...]:
    section = reached.section("ring")
    shares = []
    for key in section.keys():  # noqa: SIM118 not a dict
        if not key.isdigit() or not 2 <= int(key) <= _MOST_CARDS:
            raise section.fail(key, f"is not a number of cards in quotes from 2 to {_MOST_CARDS}")
        shares.append((int(key), section.number(key, 0.001, 1)))
    if not shares:
        raise reached.fail("ring", 'has no number of cards; write it like {"8": 0.8}')
    return tuple(sorted(shares))


def _in_switch(reached: Fields, kind: LinkKind) -> tuple[float | None, int | None]:
    section = reached.optional_section("in_switch")
    if section is None:
        return None, None
    if kind is not LinkKind.NVSWITCH:
        raise reached.fail("in_switch", f"a link of kind {kind.value} has no switches that sum")
    share = section.number("share", 0.01, 2)
    least = section.whole("least_cards", 2, _MOST_CARDS)
    section.finish()
    return share, least


def _hop(latency: Fields, key: str) -> HopLatency:
    section = latency.section(key)
    hop = HopLatency(
        ll_s=section.number("ll", 0.01, 1000) * _MICRO,
        ll128_s=section.number("ll128", 0.01, 1000) * _MICRO,
        simple_s=section.number("simple", 0.01, 1000) * _MICRO,
    )
    section.finish()
    return hop


def _channels(record: Fields) -> Channels | None:
    section = record.optional_section("channels")
    if section is None:
        return None
    channels = Channels(
        collective=section.whole("collective", 1, 64),
        point_to_point=section.whole("point_to_point", 1, 64),
        in_switch=section.whole("in_switch", 0, 64),
    )
    section.finish()
    return channels


def _measured(record: Fields) -> tuple[BusBandwidth, ...]:
    section = record.optional_section("measured")
    if section is None:
        return ()
    sizes = tuple(int(kib * KIB) for kib in section.numbers("kib", 0.001, 2**30))
    if list(sizes) != sorted(set(sizes)):
        raise section.fail("kib", "the sizes do not grow from one to the next")
    rows = tuple(_row(entry, sizes) for entry in section.sections("rows"))
    section.finish()
    of_what = [(row.collective, row.cards) for row in rows]
    for row in of_what:
        if of_what.count(row) > 1:
            raise section.fail("rows", f"{row[0].value} of {row[1]} cards is there twice")
    return rows


def _row(entry: Fields, sizes: tuple[int, ...]) -> BusBandwidth:
    rates = entry.numbers("gb_per_s", 1e-6, 100_000)
    if len(rates) != len(sizes):
        raise entry.fail("gb_per_s", f"has {len(rates)} figures for {len(sizes)} sizes in kib")
    row = BusBandwidth(
        collective=entry.word("collective", Collective),
        cards=entry.whole("cards", 2, _MOST_CARDS),
        points=tuple(zip(sizes, (rate * _GB for rate in rates), strict=True)),
    )
    entry.finish()
    return row
