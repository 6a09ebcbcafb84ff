"""Finds a record by name: by spellings, by short names that several share, by near names.

In: the names in the records of one kind (cards, processors, hosts). Out: the id of a record.
Convention: case, blanks, hyphens, underscores and leading words such as "NVIDIA GeForce RTX" do
not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from planner.errors import HardwareDatabaseError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordNames:
    """The names of the card, processor or host of one record; `file` is for error messages."""

    file: str
    id: str
    name: str
    aliases: tuple[str, ...]
    assumed_for: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The id that a name stands for, and the other ids that it could stand for."""

    id: str
    others: tuple[str, ...] = ()


class NameIndex:
    """All ways to write the names of one kind of records. The first record added wins."""

    def __init__(self, leading_words: tuple[str, ...]) -> None:
        self._leading_words = leading_words
        self._exact: dict[str, Claim] = {}  # an id, an alias, or a name of one record alone
        self._shared: dict[str, Claim] = {}  # a short name, with the record that is assumed for it
        self._loose: dict[str, Claim] = {}  # as exact, without leading words

    def add(self, records: list[RecordNames]) -> None:
        """Adds the records of one folder.

        Raises:
            HardwareDatabaseError: two of them have the same id, alias or shared name.
        """
        self._refuse_duplicates(records)
        mine = {record.id for record in records}
        spellings = [
            (text, record.id)
            for record in records
            for text in (record.id, *record.aliases, record.name)
        ]
        _add_missing(self._exact, _unambiguous((folded(text), owner) for text, owner in spellings))
        _add_missing(
            self._loose, _unambiguous((self._stripped(text), owner) for text, owner in spellings)
        )
        for record in records:
            for short, others in record.assumed_for:
                taken = self._loose.get(self._stripped(short))
                if taken is None or taken.id in mine:
                    claim = Claim(id=record.id, others=others)
                    self._shared.setdefault(self._stripped(short), claim)

    def find(self, name: str) -> Claim | None:
        """Returns the record of a name; None if none has it, or several and none is assumed."""
        return (
            self._exact.get(folded(name))
            or self._shared.get(self._stripped(name))
            or self._loose.get(self._stripped(name))
        )

    def near(self, name: str) -> list[str]:
        """Returns ids of up to four records with names like this one, best first."""
        from difflib import get_close_matches  # only needed for an unknown name

        known = {**self._loose, **self._shared}
        near = get_close_matches(self._stripped(name), known, n=8, cutoff=0.5)
        return list(dict.fromkeys(known[key].id for key in near))[:4]

    def _refuse_duplicates(self, records: list[RecordNames]) -> None:
        ids: dict[str, str] = {}
        spellings: dict[str, RecordNames] = {}
        shared: dict[str, RecordNames] = {}
        for record in records:
            first = ids.setdefault(record.id, record.file)
            if first != record.file:
                raise HardwareDatabaseError(
                    f"{record.file}: id: {record.id!r} is already in {first}"
                )
            for key, texts, claims in (
                ("aliases", (record.id, *record.aliases), spellings),
                ("assumed_for", tuple(short for short, _ in record.assumed_for), shared),
            ):
                for text in texts:
                    owner = claims.setdefault(self._stripped(text), record)
                    if owner is not record:
                        raise HardwareDatabaseError(
                            f"{record.file}: {key}: {text!r} already names {owner.id} "
                            f"in {owner.file}"
                        )

    def _stripped(self, name: str) -> str:
        """Returns the name without leading words; the last word always stays."""
        text = folded(name)
        while True:
            word = next((word for word in self._leading_words if text.startswith(word)), None)
            if word is None or word == text:
                return text
            text = text[len(word) :]


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, Claim]:
    """Returns the names that only one record has."""
    ids: dict[str, set[str]] = {}
    for key, owner in pairs:
        ids.setdefault(key, set()).add(owner)
    return {key: Claim(id=owners.pop()) for key, owners in ids.items() if len(owners) == 1}


def _add_missing(to: dict[str, Claim], claims: dict[str, Claim]) -> None:
    for key, claim in claims.items():
        to.setdefault(key, claim)


def folded(name: str) -> str:
    """Returns the name in lower case, without blanks, hyphens, underscores and dots."""
    return re.sub(r"[\W_]+", "", name.casefold())
