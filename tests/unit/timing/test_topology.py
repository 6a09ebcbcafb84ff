"""Topologies of hosts and of cards, and the groups of ranks on them."""

from __future__ import annotations

import pytest

from planner.errors import UnknownLinkError, UsageError
from planner.hardware.database import load_gpus, load_hosts, load_links
from planner.timing.topology import (
    Topology,
    group_of_ranks,
    topology_of_card,
    topology_of_host,
)
from tests.unit.timing.link_examples import INTRA, NETWORK

LINKS = load_links()
TWO_BY_FOUR = Topology(
    cards_per_host=4, hosts=2, intra=INTRA, inter=NETWORK, network_bytes_per_s=1e9
)


@pytest.mark.parametrize(
    ("ranks", "by_host"),
    [
        (range(8), (4, 4)),
        (range(4), (4,)),
        ([1, 5], (1, 1)),
        ([4, 5, 6], (3,)),
        ([0, 1, 7], (2, 1)),
        ([3], (1,)),
    ],
)
def test_ranks_fill_one_host_after_the_other(ranks: list[int], by_host: tuple[int, ...]) -> None:
    group = group_of_ranks(ranks, TWO_BY_FOUR)
    assert group.cards_by_host == by_host
    assert (group.cards, group.hosts) == (sum(by_host), len(by_host))
    assert (group.most_on_a_host, group.least_on_a_host) == (max(by_host), min(by_host))


@pytest.mark.parametrize(
    ("ranks", "said"),
    [([], "are no group"), ([1, 1], "are no group"), ([8], "rank 8 is not one of 0 to 7")],
)
def test_what_is_no_group(ranks: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        group_of_ranks(ranks, TWO_BY_FOUR)


def test_a_host_has_the_links_of_its_record() -> None:
    host = load_hosts().find("dgx-h100").spec
    one = topology_of_host(host, LINKS)
    assert (one.cards, one.intra.id, one.inter, one.network_bytes_per_s) == (
        8, "nvswitch-4", None, None,
    )  # fmt: skip
    two = topology_of_host(host, LINKS, hosts=2)
    assert two.inter is not None
    assert (two.cards, two.inter.id, two.network_bytes_per_s) == (16, "infiniband-ndr", 400e9)
    assert two.assumptions == ()


def test_some_cards_of_a_host_have_their_part_of_its_adapters() -> None:
    host = load_hosts().find("dgx-h100").spec
    two = topology_of_host(host, LINKS, hosts=2, cards_per_host=2)
    assert (two.cards, two.network_bytes_per_s) == (4, 100e9)
    with pytest.raises(UsageError, match="NVIDIA DGX H100 has 8 cards, not 9"):
        topology_of_host(host, LINKS, cards_per_host=9)


def test_a_host_without_links_is_an_error_with_a_way_out() -> None:
    host = load_hosts().find("g5.xlarge").spec
    with pytest.raises(UsageError, match="does not say what joins its cards; add `links`"):
        topology_of_host(host, LINKS)


def test_a_card_without_a_host_has_its_usual_link_and_says_so() -> None:
    card = load_gpus().find("h100-sxm").spec
    topology = topology_of_card(card, LINKS, cards_per_host=4)
    assert (topology.intra.id, topology.hosts, topology.cards) == ("nvswitch-4", 1, 4)
    assert topology.assumptions == ("assuming NVLink 4 with NVSwitch between the cards",)


def test_hosts_have_an_adapter_for_each_card_unless_said_otherwise() -> None:
    card, ndr = load_gpus().find("h100-sxm").spec, LINKS.find("ndr").spec
    topology = topology_of_card(card, LINKS, cards_per_host=8, hosts=2, inter=ndr)
    assert topology.network_bytes_per_s == 8 * 50e9
    assert topology.assumptions[-1] == "one network adapter for each card"
    few = topology_of_card(card, LINKS, cards_per_host=8, hosts=2, inter=ndr, adapters_per_host=2)
    assert few.network_bytes_per_s == 100e9
    assert "adapter" not in few.assumptions[-1]


def test_cards_beyond_a_bridge_reach_each_other_by_pcie() -> None:
    card = load_gpus().find("rtx-3090").spec
    bridge = LINKS.find("rtx-3090-bridge").spec
    topology = topology_of_card(card, LINKS, cards_per_host=4, intra=bridge)
    assert topology.intra_beyond is not None
    assert topology.intra_beyond.id == "pcie-4"
    assert topology.assumptions == ("PCIe 4 x16 for groups above 2 cards of a host",)
    pair = topology_of_card(card, LINKS, cards_per_host=2, intra=bridge)
    assert (pair.intra_beyond, pair.assumptions) == (None, ())


def test_what_cannot_be_a_topology() -> None:
    card, ndr = load_gpus().find("h100-sxm").spec, LINKS.find("ndr").spec
    with pytest.raises(UsageError, match="2 hosts need a link between them"):
        topology_of_card(card, LINKS, cards_per_host=8, hosts=2)
    with pytest.raises(UsageError, match="a link between hosts cannot join the cards of one"):
        topology_of_card(card, LINKS, cards_per_host=8, intra=ndr)
    with pytest.raises(UnknownLinkError):
        topology_of_card(load_gpus().find("gh200-96gb").spec, LINKS, cards_per_host=2)
