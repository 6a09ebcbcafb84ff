"""Turns the caller's words for cards into names: a list, `all`, `auto`, or no word at all.

In: texts such as "a100,t4". Out: names that the database knows, with the assumption for each.
Convention: only this module decides which cards stand in where none was requested.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.config.parse import texts
from planner.errors import PlannerError, UnknownGpuError, UsageError
from planner.hardware.database import GpuDatabase, load_gpus
from planner.hardware.specs import Vendor
from planner.machine import nvml
from planner.machine.nvml import PhysicalCard

ALL_CARDS = "all"  # every card in the database that can be emulated
OWN_CARD = "auto"  # the card of this machine; each kind, where there are several
# Where no card was requested and this machine has none: a small card, one of a workstation, and the
# two that are rented most for training.
DEFAULT_CARDS = ("t4", "rtx4090", "a100-sxm4-80gb", "h100-sxm5-80gb")
_HOW_TO_ASK = '--gpu NAME (in Python gpu="NAME"); `planner gpus` lists the names'

Cards = Callable[[], Sequence[PhysicalCard]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCard:
    """A card by its name in the database. `note` says why it was taken; None: it was named."""

    name: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIns:
    """The cards taken where none was requested, and the line of the report about them."""

    names: tuple[str, ...]
    note: str


def card_words(gpu: str | Sequence[str] | None, name: str = "gpu") -> tuple[str, ...]:
    """Returns each word once: the same two for "a100,t4", ["a100", "t4"] and ["a100,t4"].

    Raises:
        UsageError: another type, or a list with an empty word.
    """
    words = []
    for text in texts(gpu, name):
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise UsageError(
                f"{name} {text!r} has an empty name in it; write one card, or several with a "
                "comma between them: a100,t4"
            )
        words += parts
    return tuple(dict.fromkeys(words))


def is_every_card(words: Sequence[str]) -> bool:
    """Returns whether ALL_CARDS is among the words."""
    return any(word.lower() == ALL_CARDS for word in words)


def one_card(gpu: object, name: str, refusal: str, hardware_db: Path | None) -> str:
    """Returns the word, where it can mean only one card.

    Raises:
        UsageError: not a text, no word or several, ALL_CARDS, or OWN_CARD where this machine has
        several kinds; `refusal` says why one card is needed, and what to write.
    """
    if not isinstance(gpu, str):
        raise UsageError(f"{name} must be one text here, not {gpu!r}; {refusal}")
    words = card_words(gpu, name)
    named = ", ".join(words) or "none"
    if len(words) == 1 and not is_every_card(words):
        if words[0].lower() != OWN_CARD:
            return words[0]
        kinds = own_cards(load_gpus(hardware_db))
        if len(kinds) == 1:
            return OWN_CARD
        named = f"{OWN_CARD}: here {', '.join(card.name for card in kinds)}"
    raise UsageError(f"{name} names {named}; {refusal}")


def named_cards(words: Sequence[str], database: GpuDatabase) -> tuple[NamedCard, ...]:
    """Returns the cards that the words stand for, each once, in the order of the words.

    Raises:
        UsageError: ALL_CARDS among others; OWN_CARD where there is no card, or an unknown one.
    """
    if is_every_card(words):
        if len(words) > 1:
            raise UsageError(f"--gpu {ALL_CARDS} stands for every card: leave the others out")
        every = [card.id for card in database.all() if card.vendor is Vendor.NVIDIA]
        return tuple(NamedCard(name=name) for name in every)
    found: dict[str, NamedCard] = {}
    for word in words:
        cards = own_cards(database) if word.lower() == OWN_CARD else (NamedCard(name=word),)
        for card in cards:
            found.setdefault(card.name, card)
    return tuple(found.values())


def own_cards(database: GpuDatabase, cards: Cards | None = None) -> tuple[NamedCard, ...]:
    """Returns the kinds of card that CUDA sees on this machine; tests give `cards` for NVML.

    Raises:
        UsageError: there is no card, or it is partitioned, or not in the database.
    """
    seen = _seen(cards)
    if not seen:
        raise UsageError(
            f"--gpu {OWN_CARD} stands for the card of this machine, and no NVIDIA driver shows "
            f"one here; name a card: {_HOW_TO_ASK}"
        )
    found: dict[str, NamedCard] = {}
    for card in seen:
        if card.is_partitioned:
            raise UsageError(
                f"--gpu {OWN_CARD}: {card.name} of this machine is partitioned (MIG); name the "
                "card, and with --gpu-memory the size of the slice"
            )
        match = database.find_physical(card.name, card.usable_memory_bytes)
        note = f"{OWN_CARD}: {card.name}, the card of this machine"
        notes = [note] if match.note is None else [note, match.note]
        found.setdefault(match.spec.id, NamedCard(name=match.spec.id, note="; ".join(notes)))
    return tuple(found.values())


def stand_ins(database: GpuDatabase, cards: Cards | None = None) -> StandIns:
    """Returns the cards of this machine if the database knows them, else DEFAULT_CARDS."""
    seen = _seen(cards)
    why = "this machine has none"
    if seen:
        try:
            names = tuple(card.name for card in own_cards(database, lambda: seen))
        except UnknownGpuError:
            why = f"the card of this machine, {seen[0].name}, is not in the database"
        except UsageError:
            why = f"the card of this machine, {seen[0].name}, is partitioned"
        else:
            return StandIns(
                names=names,
                note=f"no card was asked for: {', '.join(names)} of this machine; for others "
                f"{_HOW_TO_ASK}",
            )
    return StandIns(
        names=DEFAULT_CARDS,
        note=f"no card was asked for and {why}: {', '.join(DEFAULT_CARDS)} stand in; for others "
        f"{_HOW_TO_ASK}",
    )


def _seen(cards: Cards | None) -> tuple[PhysicalCard, ...]:
    """Returns the cards that CUDA sees on this machine; empty where no driver answers."""
    try:
        every = _by_nvml() if cards is None else cards()
    except (PlannerError, ImportError):
        return ()
    return tuple(nvml.visible_cards(every, os.environ.get("CUDA_VISIBLE_DEVICES")))


def _by_nvml() -> tuple[PhysicalCard, ...]:
    with nvml.opened() as library:
        return library.cards()
