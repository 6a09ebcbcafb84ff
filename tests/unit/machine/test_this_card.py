"""The card of this process, and what others hold of it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from planner.errors import UnsupportedPlatformError, UsageError
from planner.machine.nvml import CardUser, Nvml, PhysicalCard
from planner.machine.this_card import this_card
from planner.units import GIB, MIB

T4 = PhysicalCard(
    index=0,
    uuid="GPU-0",
    name="Tesla T4",
    driver="580.65.06",
    is_partitioned=False,
    usable_memory_bytes=15 * GIB,
    ecc=True,
    power_limit_w=70.0,
)


class StandIn:
    """Two equal cards, one of them in use."""

    def __init__(self, used_bytes: int, users: tuple[CardUser, ...] = ()) -> None:
        self.used, self.seen_by = used_bytes, users
        self.all = (T4, replace(T4, index=1, uuid="GPU-1"))

    def cards(self) -> tuple[PhysicalCard, ...]:
        return self.all

    def used_bytes(self, card: PhysicalCard) -> int:
        return self.used

    def users(self, card: PhysicalCard) -> tuple[CardUser, ...]:
        return self.seen_by


def found(library: Any, **environment: str) -> tuple[str, int]:
    card = this_card(cast(Nvml, library), environment)
    return card.card.uuid, card.free_bytes


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that has a context on its second device."""
    cuda = SimpleNamespace(is_initialized=lambda: True, current_device=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", cast(Any, SimpleNamespace(cuda=cuda)))


@pytest.fixture
def not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_what_others_hold_is_not_free(not_begun: None) -> None:
    assert found(StandIn(4 * GIB, (CardUser(pid=1, used_bytes=4 * GIB),))) == ("GPU-0", 11 * GIB)
    assert found(StandIn(2 * MIB)) == ("GPU-0", 15 * GIB - 2 * MIB)


def test_what_this_process_holds_is_its_own(begun: None) -> None:
    own = CardUser(pid=os.getpid(), used_bytes=3 * GIB)
    other = CardUser(pid=1, used_bytes=GIB)
    assert found(StandIn(4 * GIB, (other, own))) == ("GPU-1", 14 * GIB)


def test_in_a_container_the_own_part_is_not_known(begun: None) -> None:
    users = (CardUser(pid=1, used_bytes=4 * GIB), CardUser(pid=os.getpid(), used_bytes=None))
    with pytest.raises(UsageError, match="call this before anything is moved to the card"):
        found(StandIn(4 * GIB, users))


def test_the_order_of_cuda_counts(not_begun: None) -> None:
    assert found(StandIn(0), CUDA_VISIBLE_DEVICES="1")[0] == "GPU-1"
    with pytest.raises(UsageError, match="there is no cuda:0"):
        found(StandIn(0), CUDA_VISIBLE_DEVICES="")


def test_one_of_several_processes_is_refused(not_begun: None) -> None:
    with pytest.raises(UsageError, match=r"one of 8 \(WORLD_SIZE\)"):
        found(StandIn(0), WORLD_SIZE="8")
    assert found(StandIn(0), WORLD_SIZE="1")[0] == "GPU-0"


def test_a_partitioned_card_is_refused(not_begun: None) -> None:
    library = StandIn(0)
    library.all = (replace(T4, is_partitioned=True),)
    with pytest.raises(UnsupportedPlatformError, match="partitioned"):
        found(library)
