"""NCCL's memory by hand arithmetic, and compared with what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import UsageError
from planner.hardware.database import load_links
from planner.hardware.link_specs import Channels
from planner.memory.communicators import (
    Communicator,
    communicator_memory,
    connection_bytes,
    receive_bytes,
)
from planner.units import MIB

A100 = load_links().find("nvswitch-3").spec
H100 = load_links().find("nvswitch-4").spec
PCIE = load_links().find("pcie-4").spec
# What nccl#964 measured on: 4 A100 with 4 links to each other.
FOUR_A100 = replace(A100, channels=Channels(collective=12, point_to_point=8, in_switch=0))


def test_a_receive_buffer_is_the_one_of_ncc_1685() -> None:
    """512 KiB + 4800 KiB + 4 MiB and a header, in granules of 2 MiB."""
    assert receive_bytes() == 10_485_760
    assert connection_bytes() == 10_485_760 + 2_097_152


@pytest.mark.parametrize(("cards", "mib"), [(2, 544), (3, 688), (4, 688)])
def test_the_published_groups_of_four_a100_are_the_high_bound(cards: int, mib: int) -> None:
    one = Communicator(name="group", cards_by_host=(cards,), link=FOUR_A100)
    found = communicator_memory([one])
    assert found.high_bytes == mib * MIB
    assert found.low_bytes == 144 * MIB


def test_the_first_all_to_all_of_eight_h100() -> None:
    """7 peers x 32 channels x 12 MiB; 3.28 GB were measured (nccl#1685)."""
    one = Communicator(name="experts", cards_by_host=(8,), link=H100, collectives=False, peers=7)
    found = communicator_memory([one])
    assert found.low_bytes == 7 * 32 * 12 * MIB
    assert found.low_bytes <= 3.28e9
    assert found.high_bytes == pytest.approx(3.28e9, rel=0.02)


def test_sums_in_the_switches_have_buffers_of_their_own() -> None:
    """16 channels x 2 x 128 KiB x 8 steps for each of the 8 cards: 256 MiB."""
    one = Communicator(name="world", cards_by_host=(8,), link=H100)
    parts = {part.what: part for part in communicator_memory([one]).parts}
    assert parts["sums in the switches"].high_bytes == 256 * MIB
    assert parts["sums in the switches"].low_bytes == 0
    assert parts["rings and trees in the host"].high_bytes == 24 * 2 * 12 * MIB
    without = communicator_memory([replace(one, in_switch=False)])
    assert without.high_bytes == communicator_memory([one]).high_bytes - 256 * MIB


def test_more_communicators_take_more_unless_they_share() -> None:
    """The first says 1.6 GB for one and 6 GB for three or more, of cards it does not name."""
    world = Communicator(name="world", cards_by_host=(8, 8), link=H100)
    one = communicator_memory([world])
    assert one.low_bytes < 1.6e9 < one.high_bytes
    three = communicator_memory([replace(world, name=name) for name in ("dp", "tp", "pp")])
    assert three.low_bytes == 3 * one.low_bytes
    assert three.high_bytes == 3 * one.high_bytes
    assert three.low_bytes < 6e9 < three.high_bytes
    split = communicator_memory([world, replace(world, name="dp", shares_resources=True)])
    assert (split.low_bytes, split.high_bytes) == (one.low_bytes, one.high_bytes)
    assert any("dp: uses the buffers" in note for note in split.assumptions)


def test_beyond_two_hosts_the_number_of_hosts_does_not_count() -> None:
    sizes = {
        communicator_memory(
            [Communicator(name="world", cards_by_host=(8,) * hosts, link=H100)]
        ).high_bytes
        for hosts in (2, 4, 64)
    }
    assert len(sizes) == 1


def test_rings_to_other_hosts_by_hand() -> None:
    """24 channels over 8 cards: 3 each, with a buffer to send from and one to receive into."""
    one = Communicator(name="world", cards_by_host=(8, 8), link=H100)
    parts = {part.what: part for part in communicator_memory([one]).parts}
    assert parts["rings and trees to other hosts"].low_bytes == 3 * 2 * 10 * MIB
    assert parts["rings and trees to other hosts"].high_bytes == 12 * (2 + 6) * 10 * MIB


def test_a_pipeline_stage_has_buffers_for_its_neighbours() -> None:
    one = Communicator(name="pp", cards_by_host=(4,), link=PCIE, collectives=False, peers=2)
    parts = {part.what: part for part in communicator_memory([one]).parts}
    assert parts["send and receive"].low_bytes == 2 * 2 * 12 * MIB
    across = communicator_memory([replace(one, cards_by_host=(1, 1, 1, 1))])
    assert {part.what: part for part in across.parts}["send and receive"].high_bytes == 20 * MIB


def test_no_communicator_takes_nothing_and_one_never_does() -> None:
    assert communicator_memory([]).high_bytes == 0
    lone = communicator_memory([Communicator(name="lone", cards_by_host=(1,), link=A100)])
    assert (lone.low_bytes, lone.high_bytes) == (0, 400 * MIB)
    assert lone.source


def test_a_link_without_published_channels_is_an_assumption() -> None:
    link = replace(A100, channels=None)
    found = communicator_memory([Communicator(name="g", cards_by_host=(2,), link=link)])
    assert found.low_bytes == 24 * 12 * MIB
    assert found.assumptions == ("g: 24 channels, as links of this kind have",)


@pytest.mark.parametrize(
    ("cards_by_host", "peers", "said"),
    [((), 0, "no rank"), ((2, 0), 0, "no rank"), ((4,), 4, "3 other ranks, not 4 peers")],
)
def test_what_is_no_communicator(cards_by_host: tuple[int, ...], peers: int, said: str) -> None:
    one = Communicator(name="g", cards_by_host=cards_by_host, link=A100, peers=peers)
    with pytest.raises(UsageError, match=said):
        communicator_memory([one])
