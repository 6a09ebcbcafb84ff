"""Reads rents of cards from the catalogue of SkyPilot or of gpuhunt, where it is on this machine.

In: "sky", "gpuhunt", or one of them with a path, like "sky:/srv/catalogs". Out: Catalogue.
Convention: rents on demand, in USD, a card's part of its whole machine; nothing is fetched. A row
that cannot be read is left out and counted. Broken or missing files are a note, because records of
the database have rents too.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from planner.cost.price import HourlyPrice
from planner.errors import UsageError
from planner.hardware.market_names import GPUHUNT_NAMES, SKYPILOT_NAMES
from planner.units import counted

SOURCES = ("sky", "gpuhunt")
_CURRENCY = "USD"
_MOST_PER_HOUR = 10_000.0  # a card: beyond it a row is broken
_MOST_FILES, _MOST_BYTES = 1000, 256 << 20
_VERSION = re.compile(r"v([0-9]+)")
_NAMES = {"sky": "SkyPilot's catalogue", "gpuhunt": "gpuhunt's catalogue"}
# Where SkyPilot keeps what it has fetched: sky/catalog/common.py and sky/skylet/constants.py, 0.14.
_SKY_FOLDER = Path(".sky/catalogs")
_SKY_RUNTIME = "SKY_RUNTIME_DIR"
_HOW_TO = {
    "sky": "SkyPilot fetches it at its first use, as `sky gpus list` is; another folder is "
    "--prices sky:FOLDER",
    "gpuhunt": "gpuhunt keeps none on disk: write one with `python -m gpuhunt PROVIDER --output "
    "FOLDER/PROVIDER.csv` and say --prices gpuhunt:FOLDER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Rents of cards by the id of their record, and notes on where they are from."""

    prices: Mapping[str, HourlyPrice]
    notes: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Offers:
    """What is found while files are read."""

    by_card: dict[str, list[float]] = field(default_factory=dict)
    broken_rows: int = 0
    dates: list[str] = field(default_factory=list)

    def add(self, cards: Iterable[str], machine_usd: float, count: float) -> None:
        """Adds an offer of a machine with `count` cards; a price that cannot be is counted."""
        share = machine_usd / count if count > 0 else math.nan
        if not 0 < share <= _MOST_PER_HOUR:
            self.broken_rows += 1
            return
        for card in cards:
            self.by_card.setdefault(card, []).append(share)


def catalogue(word: str) -> Catalogue:
    """Returns the rents of the catalogue that the word names.

    Raises:
        UsageError: the word names no catalogue.
    """
    source, _, path = word.strip().partition(":")
    source = source.lower()
    if source not in SOURCES:
        raise UsageError(
            f"prices {word!r} names no catalogue: write sky or gpuhunt, or with a place "
            "sky:FOLDER, gpuhunt:FOLDER"
        )
    place = Path(path).expanduser() if path else _usual_place(source)
    offers = _Offers()
    try:
        for file, text in _files(place):
            offers.dates.append(_date(file))
            (_read_sky if source == "sky" else _read_gpuhunt)(text, offers)
    except (OSError, zipfile.BadZipFile, csv.Error, ValueError) as error:
        return _nothing(f"{_NAMES[source]} at {place} cannot be read ({error})")
    if not offers.by_card:
        where = "" if place is None else f" at {place}"
        return _nothing(f"{_NAMES[source]} has no rents{where}; {_HOW_TO[source]}")
    return _found(source, offers)


def _nothing(said: str) -> Catalogue:
    return Catalogue(prices={}, notes=(f"{said}; rents are those of the records of cards",))


def _found(source: str, offers: _Offers) -> Catalogue:
    first, last = min(offers.dates), max(offers.dates)
    dated = first if first == last else f"{first} to {last}"
    broken = ""
    if offers.broken_rows:
        are = "is" if offers.broken_rows == 1 else "are"
        rows = counted(offers.broken_rows, "row")
        broken = f"; {rows} could not be read and {are} left out"
    return Catalogue(
        prices={
            card: HourlyPrice(
                low=min(rents),
                high=max(rents),
                currency=_CURRENCY,
                basis=f"{_NAMES[source]} of {dated}: {counted(len(rents), 'offer')} on demand",
            )
            for card, rents in offers.by_card.items()
        },
        notes=(
            f"rents are those of {_NAMES[source]}, files of {dated}, on demand, a card's part of "
            f"its machine; other cards have the rents of their records{broken}",
        ),
    )


def _usual_place(source: str) -> Path | None:
    """Returns the folder of the newest schema that SkyPilot has fetched."""
    if source != "sky":
        return None
    folder = Path(os.environ.get(_SKY_RUNTIME) or Path.home()) / _SKY_FOLDER
    versions = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _VERSION.fullmatch(path.name)) and path.is_dir()
    ]
    return max(versions)[1] if versions else folder


def _files(place: Path | None) -> Iterator[tuple[Path, str]]:
    """Yields each CSV of a folder, its folders and its zip archives, with its text.

    Raises:
        ValueError: they are too many, or too large.
    """
    if place is None:
        return
    paths = sorted(place.rglob("*")) if place.is_dir() else [place] if place.is_file() else []
    wanted = [path for path in paths if path.suffix in (".csv", ".zip") and path.is_file()]
    if len(wanted) > _MOST_FILES or sum(path.stat().st_size for path in wanted) > _MOST_BYTES:
        raise ValueError("it is far larger than a catalogue")
    for path in wanted:
        if path.suffix == ".csv":
            yield path, path.read_text(encoding="utf-8", errors="replace")
            continue
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:_MOST_FILES]:
                if info.filename.endswith(".csv"):
                    with archive.open(info) as member:
                        data = member.read(_MOST_BYTES + 1)
                    if len(data) > _MOST_BYTES:
                        raise ValueError("it is far larger than a catalogue")
                    yield path, data.decode("utf-8", "replace")


def _date(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime, timezone.utc).strftime("%Y-%m-%d")


def _read_sky(text: str, offers: _Offers) -> None:
    """Reads a vms.csv; https://github.com/skypilot-org/skypilot-catalog/blob/master/README.md."""
    cards = _by_name(SKYPILOT_NAMES)
    for row in csv.DictReader(io.StringIO(text)):
        named = cards.get((row.get("AcceleratorName") or "").strip().lower(), ())
        price = (row.get("Price") or "").strip()
        if named and price:  # without a price it is to be had as spot alone
            _add(offers, named, price, row.get("AcceleratorCount"))


def _read_gpuhunt(text: str, offers: _Offers) -> None:
    """Reads a CSV of a provider; gpuhunt/_internal/storage.py, 0.1.34."""
    cards = _by_name({card: (name,) for card, (name, _) in GPUHUNT_NAMES.items()})
    for row in csv.DictReader(io.StringIO(text)):
        named = cards.get((row.get("gpu_name") or "").strip().lower(), ())
        if not named or (row.get("spot") or "").strip().lower() == "true":
            continue
        size_gb = _number(row.get("gpu_memory"))
        if size_gb is None:
            offers.broken_rows += 1
            continue
        same = [card for card in named if GPUHUNT_NAMES[card][1] == round(size_gb)]
        if same:
            _add(offers, same, row.get("price"), row.get("gpu_count"))


def _add(offers: _Offers, cards: Iterable[str], price: str | None, count: str | None) -> None:
    machine_usd, number = _number(price), _number(count)
    if machine_usd is None or number is None:
        offers.broken_rows += 1
    else:
        offers.add(cards, machine_usd, number)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _by_name(names: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Returns the ids of cards by the names that a catalogue has for them, in lower case."""
    found: dict[str, tuple[str, ...]] = {}
    for card, several in names.items():
        for name in several:
            found[name.lower()] = (*found.get(name.lower(), ()), card)
    return found
