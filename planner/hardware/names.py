"""How a card is found by name: spellings, short names that several cards share, near names.

In: the names in the records. Out: the id of the card meant. Convention: case, blanks, hyphens,
underscores and leading words such as "NVIDIA GeForce RTX" do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from planner.errors import HardwareDatabaseError

_LEADING_WORDS = (
    "nvidia", "geforce", "tesla", "quadro", "rtx", "gtx",
    "amd", "radeon", "rx", "instinct", "intel", "arc",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CardNames:
    """What one record's card is called; `file` is for error messages."""

    file: str
    id: str
    name: str
    aliases: tuple[str, ...]
    assumed_for: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The card that a name leads to, and the other cards that the name could have meant."""

    card: str
    others: tuple[str, ...] = ()


class NameIndex:
    """All ways to write the names of cards. What was added first wins."""

    def __init__(self) -> None:
        self._exact: dict[str, Claim] = {}  # an id, an alias, or a device name of one card alone
        self._shared: dict[str, Claim] = {}  # a short name, with the card that answers for it
        self._loose: dict[str, Claim] = {}  # as exact, without leading words

    def add(self, cards: list[CardNames]) -> None:
        """The cards of one folder.

        Raises:
            HardwareDatabaseError: two of them have the same id, alias or shared name.
        """
        _refuse_duplicates(cards)
        mine = {card.id for card in cards}
        spellings = [
            (text, card.id) for card in cards for text in (card.id, *card.aliases, card.name)
        ]
        _add_missing(self._exact, _unambiguous((_folded(text), card) for text, card in spellings))
        _add_missing(self._loose, _unambiguous((_stripped(text), card) for text, card in spellings))
        for card in cards:
            for short, others in card.assumed_for:
                taken = self._loose.get(_stripped(short))
                if taken is None or taken.card in mine:
                    self._shared.setdefault(_stripped(short), Claim(card=card.id, others=others))

    def find(self, name: str) -> Claim | None:
        """The card meant; None when there is none, or several and none answers for the name."""
        return (
            self._exact.get(_folded(name))
            or self._shared.get(_stripped(name))
            or self._loose.get(_stripped(name))
        )

    def near(self, name: str) -> list[str]:
        """Ids of up to four cards whose names look like this one, best first."""
        from difflib import get_close_matches  # only wanted when a name is wrong

        known = {**self._loose, **self._shared}
        near = get_close_matches(_stripped(name), known, n=8, cutoff=0.5)
        return list(dict.fromkeys(known[key].card for key in near))[:4]


def _refuse_duplicates(cards: list[CardNames]) -> None:
    ids: dict[str, str] = {}
    spellings: dict[str, CardNames] = {}
    shared: dict[str, CardNames] = {}
    for card in cards:
        first = ids.setdefault(card.id, card.file)
        if first != card.file:
            raise HardwareDatabaseError(f"{card.file}: id: {card.id!r} is already in {first}")
        for key, texts, claims in (
            ("aliases", (card.id, *card.aliases), spellings),
            ("assumed_for", tuple(short for short, _ in card.assumed_for), shared),
        ):
            for text in texts:
                owner = claims.setdefault(_stripped(text), card)
                if owner is not card:
                    raise HardwareDatabaseError(
                        f"{card.file}: {key}: {text!r} already names {owner.id} in {owner.file}"
                    )


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, Claim]:
    """Names that lead to one card only."""
    cards: dict[str, set[str]] = {}
    for key, card in pairs:
        cards.setdefault(key, set()).add(card)
    return {key: Claim(card=owners.pop()) for key, owners in cards.items() if len(owners) == 1}


def _add_missing(to: dict[str, Claim], claims: dict[str, Claim]) -> None:
    for key, claim in claims.items():
        to.setdefault(key, claim)


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _stripped(name: str) -> str:
    """The name without leading words; the last word stays even when it is one of them."""
    text = _folded(name)
    while True:
        word = next((word for word in _LEADING_WORDS if text.startswith(word)), None)
        if word is None or word == text:
            return text
        text = text[len(word) :]
