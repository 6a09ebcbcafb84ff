"""Finding links by name, and what is said of records of links that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from planner.errors import HardwareDatabaseError, UnknownLinkError
from planner.hardware.database import load_gpus, load_hosts, load_links
from planner.hardware.link_specs import Collective
from tests.unit.hardware.own_records import written


@pytest.fixture
def link() -> dict[str, Any]:
    """A user's record of an invented link."""
    hop = {"ll": 1.0, "ll128": 2.0, "simple": 4.0}
    return {
        "id": "lab-link",
        "name": "Lab link",
        "kind": "nvswitch",
        "default_for": ["rtx-4090"],
        "wire": {"gb_per_s": 100, "most_cards": 8},
        "reached": {"ring": {"2": 0.5, "8": 0.8}, "in_switch": {"share": 1.0, "least_cards": 5}},
        "latency_us": {"ring_hop": hop, "tree_hop": dict(hop)},
        "channels": {"collective": 16, "point_to_point": 8, "in_switch": 4},
        "measured": {
            "kib": [1, 1024],
            "rows": [{"collective": "all_reduce", "cards": 8, "gb_per_s": [0.1, 70]}],
        },
        "sources": dict.fromkeys(["wire", "reached", "latency_us", "channels", "measured"], "lab"),
        "confidence": "low",
    }


def test_a_record_is_read_in_full(tmp_path: Path, link: dict[str, Any]) -> None:
    written(tmp_path / "links", link)
    links = load_links(tmp_path)
    spec = links.find("lab link").spec
    assert spec.wire_bytes_per_s == 100e9
    assert spec.ring_shares == ((2, 0.5), (8, 0.8))
    assert (spec.in_switch_share, spec.least_cards_in_switch) == (1.0, 5)
    assert spec.ring_hop.ll128_s == 2e-6
    assert spec.measured[0].collective is Collective.ALL_REDUCE
    assert spec.measured[0].points == ((1024, 0.1e9), (1024 * 1024, 70e9))
    assert links.of_card(load_gpus().find("rtx-4090").spec).spec.id == "lab-link"
    assert load_links().of_card(load_gpus().find("rtx-4090").spec).spec.id == "pcie-4"


def test_a_users_record_replaces_ours(tmp_path: Path, link: dict[str, Any]) -> None:
    written(tmp_path / "links", {**link, "id": "pcie-4", "default_for": []})
    assert load_links(tmp_path).of_card(load_gpus().find("rtx-4090").spec).spec.name == "Lab link"


def test_without_what_may_be_left_out(tmp_path: Path, link: dict[str, Any]) -> None:
    for key in ("default_for", "channels", "measured"):
        del link[key]
        link["sources"].pop(key, None)
    del link["wire"]["most_cards"], link["reached"]["in_switch"]
    written(tmp_path / "links", link)
    spec = load_links(tmp_path).find("lab-link").spec
    assert (spec.most_cards, spec.in_switch_share, spec.channels) == (None, None, None)
    assert spec.measured == spec.default_for == ()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("kind", "carrier-pigeon", "kind: 'carrier-pigeon' is not one of nvswitch, nvlink, pcie"),
        ("wire.gb_per_s", "fast", "wire.gb_per_s: must be a plain number, not 'fast'"),
        ("wire.gb_per_s", 0, "wire.gb_per_s: 0 is outside 0.01 to"),
        ("wire.lanes", 16, "wire.lanes: is not a key here; known: gb_per_s, most_cards"),
        ("default_for", ["rtx-9999"], "default_for: 'rtx-9999' is not the id of a card"),
        ("reached.ring", {}, 'reached.ring: has no number of cards; write it like {"8": 0.8}'),
        ("reached.ring", {"1": 0.5}, "reached.ring.1: is not a number of cards in quotes"),
        ("reached.ring", {"8": 1.5}, "reached.ring.8: 1.5 is outside 0.001 to 1"),
        ("latency_us.ring_hop.ll", None, "latency_us.ring_hop.ll: is null, but a value is needed"),
        ("channels.collective", 100, "channels.collective: 100 is outside 1 to 64"),
        ("measured.kib", [1024, 1], "measured.kib: the sizes do not grow"),
        ("measured.kib", [], "measured.kib: is an empty list"),
        ("measured.kib", [1, 2, 3], "gb_per_s: has 2 figures for 3 sizes in kib"),
        ("measured.rows", [{"collective": "gossip", "cards": 8, "gb_per_s": [1, 2]}],
         "collective: 'gossip' is not one of all_reduce"),
        ("sources", {"wire": "lab"}, "sources.reached: is missing"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_wrong_record(
    tmp_path: Path, link: dict[str, Any], path: str, value: object, said: str
) -> None:
    *sections, key = path.split(".")
    place = link
    for section in sections:
        place = place[section]
    place[key] = value
    file = written(tmp_path / "links", link)
    with pytest.raises(HardwareDatabaseError, match=re.escape(said)) as error:
        load_links(tmp_path)
    assert str(error.value).startswith(f"{file}: ")


def test_one_row_for_each_collective_and_number_of_cards(
    tmp_path: Path, link: dict[str, Any]
) -> None:
    link["measured"]["rows"] *= 2
    written(tmp_path / "links", link)
    with pytest.raises(HardwareDatabaseError, match="all_reduce of 8 cards is there twice"):
        load_links(tmp_path)


def test_switches_that_sum_and_cards_of_one_host_need_a_fitting_kind(
    tmp_path: Path, link: dict[str, Any]
) -> None:
    written(tmp_path / "links", {**link, "kind": "pcie"})
    with pytest.raises(HardwareDatabaseError, match="of kind pcie has no switches that sum"):
        load_links(tmp_path)
    del link["reached"]["in_switch"]
    written(tmp_path / "links", {**link, "kind": "efa"})
    with pytest.raises(HardwareDatabaseError, match="of kind efa joins hosts, not cards"):
        load_links(tmp_path)


def test_an_unknown_link_lists_near_ones() -> None:
    with pytest.raises(
        UnknownLinkError, match=r"no link named 'infiniband-ndd'; near names: .*ndr"
    ):
        load_links().find("infiniband-ndd")


def test_a_card_without_a_known_link_is_an_error_with_a_way_out() -> None:
    with pytest.raises(UnknownLinkError, match="lists gh200-96gb in default_for"):
        load_links().of_card(load_gpus().find("gh200-96gb").spec)


HOST = {
    "id": "lab-host", "name": "Lab host", "cpu": "epyc-7763", "gpus": {"rtx-4090": 8},
    "processor": {"vcpus": 16, "physical_cores": 8}, "memory": {"ram_gib": 64},
    "links": {"cards": "pcie-4", "network": "roce-100", "network_gb_per_s": 25},
    "sources": {"processor": "lab", "memory": "lab", "links": "lab"}, "confidence": "low",
}  # fmt: skip


def test_a_host_names_its_links(tmp_path: Path) -> None:
    written(tmp_path / "hosts", HOST)
    links = load_hosts(tmp_path).find("lab-host").spec.links
    assert links is not None
    assert links.to_dict() == {
        "cards": "pcie-4", "network": "roce-100", "network_bytes_per_s": 25e9,
    }  # fmt: skip
    written(tmp_path / "hosts", {**HOST, "links": {"cards": "pcie-4"}})
    links = load_hosts(tmp_path).find("lab-host").spec.links
    assert links is not None
    assert (links.network, links.network_bytes_per_s) == (None, None)


def test_a_host_may_name_a_link_of_the_same_folder(tmp_path: Path, link: dict[str, Any]) -> None:
    written(tmp_path / "links", link)
    written(tmp_path / "hosts", {**HOST, "links": {"cards": "lab-link"}})
    found = load_hosts(tmp_path).find("lab-host").spec.links
    assert found is not None
    assert found.cards == "lab-link"


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"cards": "pcie-9"}, "links.cards: 'pcie-9' is not the id of a link"),
        ({"cards": "efa-1"}, "links.cards: efa-1 joins hosts"),
        ({"cards": "pcie-4", "network": "pcie-5", "network_gb_per_s": 1},
         "links.network: pcie-5 joins the cards of one host"),
        ({"cards": "pcie-4", "network": "efa-1"}, "links.network_gb_per_s: is missing"),
        ({"cards": "pcie-4", "network_gb_per_s": 1}, "links.network_gb_per_s: is not a key here"),
    ],
)  # fmt: skip
def test_what_is_said_of_wrong_links_of_a_host(
    tmp_path: Path, links: dict[str, object], said: str
) -> None:
    written(tmp_path / "hosts", {**HOST, "links": links})
    with pytest.raises(HardwareDatabaseError, match=re.escape(said)):
        load_hosts(tmp_path)
