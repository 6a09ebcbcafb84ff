"""Times of collectives by hand arithmetic: measured, by NCCL's model, over hosts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import sqrt

import pytest

from planner.errors import UsageError
from planner.hardware.database import load_links
from planner.hardware.link_specs import Collective, LinkKind
from planner.hardware.specs import Confidence
from planner.timing.collectives import collective_time
from planner.timing.nccl_model import Algorithm
from planner.timing.topology import RankGroup, Topology
from tests.unit.timing.link_examples import INTRA, NETWORK, measured

ONE_HOST = Topology(cards_per_host=8, hosts=1, intra=INTRA)
FOUR_HOSTS = Topology(
    cards_per_host=8, hosts=4, intra=INTRA, inter=NETWORK, network_bytes_per_s=80e9
)
MB = 10**6
GB = 10**9
US = 1e-6


def on_one_host(cards: int) -> RankGroup:
    return RankGroup(cards_by_host=(cards,))


def test_large_all_gather_is_bytes_over_the_ring() -> None:
    """8.4 us + 7 hops of 4 us, then 7/8 of 8 GB at 0.8 of 100 GB/s."""
    done = collective_time(Collective.ALL_GATHER, 8 * GB, on_one_host(8), ONE_HOST)
    assert done.time_s == pytest.approx(8.4 * US + 7 * 4 * US + 7 / 80)
    assert done.latency_s == pytest.approx(36.4 * US)
    assert done.bus_bytes_per_s == pytest.approx(80e9, rel=1e-3)
    assert done.algorithm is Algorithm.RING
    assert done.source == "NCCL's model of ring (simple) over a switch"


def test_small_all_gather_is_latency_of_the_fast_protocol() -> None:
    """6.6 us + 7 hops of 1 us, then 875 bytes at 0.37 of 80 GB/s."""
    done = collective_time(Collective.ALL_GATHER, 1000, on_one_host(8), ONE_HOST)
    assert done.time_s == pytest.approx(13.6 * US + 875 / (0.37 * 80e9))
    assert done.source.startswith("NCCL's model of ring (ll)")


def test_small_all_reduce_takes_the_faster_of_ring_and_tree() -> None:
    """Both have 14 hops of 1 us; the ring begins after 6.6 us, the tree after 6.8 us."""
    done = collective_time(Collective.ALL_REDUCE, 8, on_one_host(8), ONE_HOST)
    assert done.algorithm is Algorithm.RING
    assert done.time_s == pytest.approx(20.6 * US + 14 / (0.37 * 80e9))


def test_an_all_reduce_moves_twice_the_bytes_of_an_all_gather() -> None:
    times = [
        collective_time(one, 8 * GB, on_one_host(8), ONE_HOST).time_s
        for one in (Collective.ALL_REDUCE, Collective.ALL_GATHER, Collective.REDUCE_SCATTER)
    ]
    assert times[0] == pytest.approx(times[1] + times[2], rel=1e-3)


def test_the_share_of_the_wire_is_interpolated_over_cards() -> None:
    """Four cards are half-way between 2 and 8 where the axis is a logarithm."""
    done = collective_time(Collective.ALL_GATHER, 100 * GB, on_one_host(4), ONE_HOST)
    assert done.bus_bytes_per_s == pytest.approx(sqrt(0.5 * 0.8) * 100e9, rel=1e-3)


def test_switches_that_sum_are_taken_where_they_are_faster() -> None:
    """25 us, then 1.75 x 8 GB at 1.05 of the wire; a group of 4 is too small for it."""
    link = replace(INTRA, in_switch_share=1.05, least_cards_in_switch=5)
    topology = replace(ONE_HOST, intra=link)
    done = collective_time(Collective.ALL_REDUCE, 8 * GB, on_one_host(8), topology)
    assert done.algorithm is Algorithm.IN_SWITCH
    assert done.time_s == pytest.approx(25 * US + 14 / 105)
    small = collective_time(Collective.ALL_REDUCE, 8 * GB, on_one_host(4), topology)
    assert small.algorithm is Algorithm.RING
    gathered = collective_time(Collective.ALL_GATHER, 8 * GB, on_one_host(8), topology)
    assert gathered.algorithm is Algorithm.RING


def test_broadcast_and_message() -> None:
    """Broadcast: all bytes once around the ring. A message: one hop, the rate of two cards."""
    done = collective_time(Collective.BROADCAST, 8 * GB, on_one_host(8), ONE_HOST)
    assert done.time_s == pytest.approx(8.4 * US + 8 * 4 * US + 8 / 80)
    sent = collective_time(Collective.SEND_RECV, 1 * GB, on_one_host(2), ONE_HOST)
    assert sent.time_s == pytest.approx(6.6 * US + 1 * US + 1 / 50)
    assert sent.algorithm is Algorithm.DIRECT


def test_all_to_all_sends_a_part_to_each() -> None:
    done = collective_time(Collective.ALL_TO_ALL, 8 * GB, on_one_host(8), ONE_HOST)
    assert done.time_s == pytest.approx(6.6 * US + 7 * US + 7 / 80)


def test_a_ring_over_hosts_is_bound_by_their_adapters() -> None:
    """32 ranks, 0.5 of 80 GB/s; 62 steps, 6 of them over the network."""
    group = RankGroup(cards_by_host=(8,) * 4)
    done = collective_time(Collective.ALL_REDUCE, 32 * GB, group, FOUR_HOSTS)
    assert done.algorithm is Algorithm.RING
    assert done.time_s == pytest.approx((8.4 + 56 * 4 + 6 * 10) * US + 62 / 40)
    assert done.bus_bytes_per_s <= 40e9
    assert done.source == "NCCL's model of ring (simple) over a switch and a network"


def test_small_messages_over_hosts_take_a_tree() -> None:
    """6.8 us + 2 x 7 hops of 1 us + 2 x log2(4) hops of 6 us; the ring has 6.6 + 56 + 6 x 3."""
    group = RankGroup(cards_by_host=(8,) * 4)
    done = collective_time(Collective.ALL_REDUCE, 64, group, FOUR_HOSTS)
    assert done.algorithm is Algorithm.TREE
    assert done.latency_s == pytest.approx((6.8 + 14 + 24) * US)
    assert done.confidence is Confidence.LOW
    assert any("below 512 MiB" in note for note in done.assumptions)


def test_groups_of_one_card_a_host_share_the_adapters() -> None:
    """Each has an eighth, 0.5 of 10 GB/s; groups of two cards have a quarter."""
    group = RankGroup(cards_by_host=(1,) * 4)
    done = collective_time(Collective.ALL_GATHER, 4 * GB, group, FOUR_HOSTS)
    assert done.time_s == pytest.approx((8.4 + 3 * 12) * US + 3 / 5)
    assert any("part of the host's adapters" in note for note in done.assumptions)
    pairs = collective_time(
        Collective.ALL_GATHER, 8 * GB, RankGroup(cards_by_host=(2,) * 4), FOUR_HOSTS
    )
    assert pairs.time_s == pytest.approx((8.4 + 4 * 4 + 3 * 10) * US + 7 / 10)


def test_a_message_to_another_host_has_the_adapters_of_one_card() -> None:
    group = RankGroup(cards_by_host=(1, 1))
    done = collective_time(Collective.SEND_RECV, 1 * GB, group, FOUR_HOSTS)
    assert done.time_s == pytest.approx((6.6 + 10 + 1) * US + 1 / 5)


def test_messages_around_a_group_take_as_long_as_the_slowest() -> None:
    """Each card sends to the next: inside a host as between two cards, else as between hosts."""
    for around, pair in (((8,), (2,)), ((8, 8), (1, 1))):
        times = [
            collective_time(
                Collective.SEND_RECV, GB, RankGroup(cards_by_host=by_host), FOUR_HOSTS
            ).time_s
            for by_host in (around, pair)
        ]
        assert times[0] == times[1] > 0


def test_all_to_all_over_hosts_is_bound_by_the_adapters() -> None:
    """24 of 32 parts leave the host, by 5 GB/s a card; 7 stay, and are faster."""
    group = RankGroup(cards_by_host=(8,) * 4)
    done = collective_time(Collective.ALL_TO_ALL, 32 * GB, group, FOUR_HOSTS)
    assert done.time_s == pytest.approx((6.6 + 7 + 10 + 24) * US + 24 / 5)


def test_measured_points_are_met_and_interpolated() -> None:
    link = replace(
        INTRA,
        measured=(
            measured(Collective.ALL_GATHER, 2, (1000, 1e9), (100_000, 10e9), (10 * MB, 40e9)),
            measured(Collective.ALL_GATHER, 8, (1000, 0.25e9), (100_000, 4e9), (10 * MB, 60e9)),
        ),
    )
    topology = replace(ONE_HOST, intra=link)

    def bus(size: int, cards: int) -> float:
        done = collective_time(Collective.ALL_GATHER, size, on_one_host(cards), topology)
        assert done.algorithm is Algorithm.MEASURED
        assert (done.latency_s, done.assumptions) == (None, ())
        assert done.source == "measured over a switch: our own lab"
        return done.bus_bytes_per_s

    assert bus(100_000, 8) == pytest.approx(4e9)
    assert bus(10_000, 8) == pytest.approx(sqrt(0.25 * 4) * 1e9)
    assert bus(100_000, 4) == pytest.approx(sqrt(10 * 4) * 1e9)


def test_below_the_measured_sizes_the_time_stays() -> None:
    link = replace(INTRA, measured=(measured(Collective.ALL_GATHER, 8, (1000, 1e9), (MB, 50e9)),))
    topology = replace(ONE_HOST, intra=link)
    for size in (1000, 100, 1):
        done = collective_time(Collective.ALL_GATHER, size, on_one_host(8), topology)
        assert done.time_s == pytest.approx(0.875 * 1000 / 1e9)


def test_above_the_measured_sizes_the_rate_is_that_of_the_last_bytes() -> None:
    """1 MB took 20 us / 0.875 of traffic at 50 GB/s, 2 MB 32: the second one at 83, so at 80."""
    link = replace(
        INTRA, measured=(measured(Collective.ALL_GATHER, 8, (MB, 50e9), (2 * MB, 62.5e9)),)
    )
    done = collective_time(
        Collective.ALL_GATHER, 82 * MB, on_one_host(8), replace(ONE_HOST, intra=link)
    )
    assert done.time_s == pytest.approx(0.875 * (32 * US + 80 * MB / 80e9))


def test_a_message_is_the_all_to_all_of_two_cards() -> None:
    """A buffer of 2 MB sends 1 MB to the other card: the measured time is that of 1 MB."""
    link = replace(
        INTRA, measured=(measured(Collective.ALL_TO_ALL, 2, (MB, 10e9), (2 * MB, 20e9)),)
    )
    done = collective_time(Collective.SEND_RECV, MB, on_one_host(2), replace(ONE_HOST, intra=link))
    assert done.time_s == pytest.approx(0.5 * 2 * MB / 20e9)


def test_more_cards_than_measured_are_modelled_and_said() -> None:
    link = replace(INTRA, measured=(measured(Collective.ALL_GATHER, 2, (MB, 10e9)),))
    done = collective_time(Collective.ALL_GATHER, MB, on_one_host(8), replace(ONE_HOST, intra=link))
    assert done.algorithm is Algorithm.RING
    assert done.assumptions == ("no measured time of 8 cards over a switch",)
    assert done.confidence is Confidence.MEDIUM


def test_a_group_beyond_a_bridge_takes_the_other_link() -> None:
    bridge = replace(INTRA, id="bridge", kind=LinkKind.NVLINK, most_cards=2)
    lanes = replace(INTRA, id="lanes", name="lanes", kind=LinkKind.PCIE, wire_bytes_per_s=10e9)
    topology = Topology(cards_per_host=4, hosts=1, intra=bridge, intra_beyond=lanes)
    pair = collective_time(Collective.ALL_GATHER, 8 * GB, on_one_host(2), topology)
    assert pair.bus_bytes_per_s == pytest.approx(50e9, rel=1e-3)
    four = collective_time(Collective.ALL_GATHER, 8 * GB, on_one_host(4), topology)
    assert four.bus_bytes_per_s == pytest.approx(sqrt(0.4) * 10e9, rel=1e-3)
    with pytest.raises(UsageError, match="joins 2 cards of a host, not 4"):
        collective_time(
            Collective.ALL_GATHER, 8, on_one_host(4), replace(topology, intra_beyond=None)
        )


def test_one_card_does_not_communicate() -> None:
    done = collective_time(Collective.ALL_REDUCE, GB, on_one_host(1), ONE_HOST)
    assert (done.time_s, done.bus_bytes_per_s) == (0, 0)
    assert done.algorithm is Algorithm.NONE


@pytest.mark.parametrize(
    ("collective", "size", "group", "said"),
    [
        (Collective.ALL_REDUCE, 0, (8,), "of 0 bytes is none"),
        (Collective.ALL_REDUCE, 8, (9,), "9 ranks on each of 1 hosts do not fit 1 hosts of 8"),
        (Collective.ALL_REDUCE, 8, (8, 8), "do not fit"),
        (Collective.ALL_REDUCE, 8, (), "at least one rank"),
        (Collective.ALL_REDUCE, 8, (2, 0), "at least one rank"),
    ],
)
def test_what_cannot_be_meant(
    collective: Collective, size: int, group: tuple[int, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        collective_time(collective, size, RankGroup(cards_by_host=group), ONE_HOST)


def test_hosts_that_nothing_joins() -> None:
    topology = replace(FOUR_HOSTS, inter=None, network_bytes_per_s=None)
    with pytest.raises(UsageError, match="no link between hosts"):
        collective_time(Collective.ALL_REDUCE, 8, RankGroup(cards_by_host=(8, 8)), topology)


@pytest.mark.parametrize("link", ["nvswitch-3", "nvswitch-4", "nvswitch-5", "pcie-4", "pcie-5"])
@pytest.mark.parametrize("collective", list(Collective))
def test_more_bytes_never_take_less_time_by_more_than_the_measured_noise(
    link: str, collective: Collective
) -> None:
    topology = Topology(cards_per_host=8, hosts=1, intra=load_links().find(link).spec)
    group = on_one_host(2 if collective is Collective.SEND_RECV else 8)
    times = [
        collective_time(collective, 1 << power, group, topology).time_s for power in range(6, 36)
    ]
    assert all(after > 0.5 * before for before, after in pairwise(times))
    assert times[-1] > 100 * times[0]
