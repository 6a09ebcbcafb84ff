"""A replay without any wait for other streams, against sums by hand."""

from __future__ import annotations

import pytest

from planner.estimation.idle_card import freed_at_once, idle_fraction
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request
from planner.units import GIB, MIB
from planner.wire.trace import EventKind

SETTINGS = parse_alloc_conf("", "2.14.1")
ALLOC, FREE = EventKind.ALLOC, EventKind.FREE
REQUESTED, COMPLETED = EventKind.FREE_REQUESTED, EventKind.FREE_COMPLETED
# Three pieces of 20 MiB, one after the other; the first two wait for another stream.
WAITING = (
    Request(ALLOC, 0, 20 * MIB),
    Request(REQUESTED, 0, 20 * MIB),
    Request(ALLOC, 1, 20 * MIB),
    Request(REQUESTED, 1, 20 * MIB),
    Request(ALLOC, 2, 20 * MIB),
    Request(COMPLETED, 0, 20 * MIB),
    Request(COMPLETED, 1, 20 * MIB),
    Request(FREE, 2, 20 * MIB),
)


def test_each_free_is_complete_at_once() -> None:
    assert [(one.kind, one.block) for one in freed_at_once(WAITING)] == [
        (ALLOC, 0), (FREE, 0), (ALLOC, 1), (FREE, 1), (ALLOC, 2), (FREE, 2),
    ]  # fmt: skip


def test_three_pieces_that_wait_are_one_on_a_card_that_keeps_up() -> None:
    found = idle_fraction(WAITING, SETTINGS, total_memory_bytes=16 * GIB)
    assert found == pytest.approx(1 / 3)


def test_without_a_wait_or_a_replay_nothing_changes() -> None:
    at_once = tuple(freed_at_once(WAITING))
    assert idle_fraction(at_once, SETTINGS, total_memory_bytes=16 * GIB) == 1.0
    assert idle_fraction((), SETTINGS, total_memory_bytes=16 * GIB) == 1.0
    assert idle_fraction(WAITING, None, total_memory_bytes=16 * GIB) == 1.0
