"""Words for cards: lists, all, auto, and the cards that stand in where there is no word."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from planner.errors import UnknownGpuError, UnsupportedPlatformError, UsageError
from planner.hardware.database import load_gpus
from planner.machine.nvml import PhysicalCard
from planner.memory import card_words as under_test
from planner.memory.card_words import (
    DEFAULT_CARDS,
    card_words,
    named_cards,
    one_card,
    own_cards,
    stand_ins,
)
from planner.units import GIB

DATABASE = load_gpus()
A100 = ("NVIDIA A100-SXM4-80GB", 79.1)
T4 = ("Tesla T4", 14.6)


def physical(name: str, gib: float, *, index: int = 0, mig: bool = False) -> PhysicalCard:
    return PhysicalCard(
        index=index,
        uuid=f"GPU-{index}",
        name=name,
        driver="580.65.06",
        is_partitioned=mig,
        usable_memory_bytes=int(gib * GIB),
        ecc=None,
        power_limit_w=None,
    )


@pytest.fixture(autouse=True)
def every_card_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ((), ()),
        (None, ()),
        ("a100", ("a100",)),
        ("a100,t4", ("a100", "t4")),
        (" a100 , t4 ", ("a100", "t4")),
        (["a100,t4", "l4", "t4"], ("a100", "t4", "l4")),
        (("auto",), ("auto",)),
        ("rtx 4090", ("rtx 4090",)),
    ],
    ids=str,
)
def test_words(gpu: str | Sequence[str] | None, words: tuple[str, ...]) -> None:
    assert card_words(gpu) == words


@pytest.mark.parametrize("gpu", ["", "a100,", ",", ["a100", " "], 7, [7]], ids=str)
def test_words_that_are_none(gpu: str) -> None:
    with pytest.raises(UsageError):
        card_words(gpu)


def test_no_name_in_the_database_has_a_comma() -> None:
    assert not [
        name
        for spec in DATABASE.all()
        for name in (spec.id, spec.name, *spec.other_names)
        if "," in name
    ]


def test_the_cards_that_stand_in_are_found_under_these_names_and_nothing_is_assumed() -> None:
    assert [DATABASE.find(name).note for name in DEFAULT_CARDS] == [None] * len(DEFAULT_CARDS)


def test_all_stands_alone() -> None:
    every = named_cards(["ALL"], DATABASE)
    assert len(every) > len(DEFAULT_CARDS)
    with pytest.raises(UsageError, match="leave the others out"):
        named_cards(["all", "t4"], DATABASE)


def test_a_machine_has_the_card_that_its_driver_names() -> None:
    (card,) = own_cards(DATABASE, lambda: [physical(*A100), physical(*A100, index=1)])
    assert card.name == "a100-sxm4-80gb"
    assert card.note == "auto: NVIDIA A100-SXM4-80GB, the card of this machine"


def test_a_machine_with_two_kinds_has_both() -> None:
    cards = own_cards(DATABASE, lambda: [physical(*A100), physical(*T4, index=1)])
    assert [card.name for card in cards] == ["a100-sxm4-80gb", "t4"]


def test_cards_of_one_name_differ_in_memory() -> None:
    def of(gib: float) -> str:
        (card,) = own_cards(DATABASE, lambda: [physical("NVIDIA GeForce RTX 3080", gib)])
        return card.name

    assert (of(9.7), of(11.7)) == ("rtx-3080-10gb", "rtx-3080-12gb")
    with pytest.raises(UnknownGpuError, match=r"RTX 3080 with 20.* rtx-3080-10gb has"):
        of(20)


def test_only_visible_cards_are_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (card,) = own_cards(DATABASE, lambda: [physical(*A100), physical(*T4, index=1)])
    assert card.name == "t4"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match=r"no NVIDIA driver shows one here.*--gpu NAME"):
        own_cards(DATABASE, lambda: [physical(*A100)])


def test_a_slice_is_not_its_card() -> None:
    with pytest.raises(UsageError, match=r"partitioned \(MIG\).*--gpu-memory"):
        own_cards(DATABASE, lambda: [physical(*A100, mig=True)])
    assert stand_ins(DATABASE, lambda: [physical(*A100, mig=True)]).names == DEFAULT_CARDS


def no_driver() -> Sequence[PhysicalCard]:
    raise UnsupportedPlatformError("no NVIDIA driver answers")


def test_without_a_card_there_is_no_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_by_nvml", no_driver)
    with pytest.raises(UsageError, match="--gpu auto stands for the card of this machine"):
        named_cards(["t4", "auto"], DATABASE)
    with pytest.raises(UsageError, match="--gpu auto"):
        one_card("auto", "gpu", "one", None)


def test_auto_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_by_nvml", lambda: [physical(*T4)])
    cards = named_cards(["a100", "Auto", "t4"], DATABASE)
    assert [card.name for card in cards] == ["a100", "t4"]
    assert cards[1].note is not None
    assert one_card("AUTO", "gpu", "one", None) == "auto"


@pytest.mark.parametrize("gpu", ["a100,t4", ["a100", "t4"], "all", ()], ids=str)
def test_one_card_is_one(gpu: str) -> None:
    with pytest.raises(UsageError, match=r"gpu (names|must be) .*; a curve is of one card"):
        one_card(gpu, "gpu", "a curve is of one card", None)


def test_one_card_where_this_machine_has_two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_by_nvml", lambda: [physical(*T4), physical(*A100, index=1)])
    with pytest.raises(UsageError, match="auto: here t4, a100-sxm4-80gb"):
        one_card("auto", "gpu", "one", None)


def test_what_stands_in() -> None:
    own = stand_ins(DATABASE, lambda: [physical(*T4)])
    assert own.names == ("t4",)
    assert "no card was asked for: t4 of this machine" in own.note
    for cards, why in (
        (no_driver, "this machine has none"),
        (tuple, "this machine has none"),
        (lambda: [physical("NVIDIA B999", 100)], "NVIDIA B999, is not in the database"),
    ):
        found = stand_ins(DATABASE, cards)
        assert found.names == DEFAULT_CARDS
        assert why in found.note
        assert all(name in found.note for name in (*DEFAULT_CARDS, "--gpu NAME", 'gpu="NAME"'))
