"""The shipped links: each is read in full, and its figures agree with one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from planner.hardware.database import load_gpus, load_links
from planner.hardware.link_specs import Collective, LinkKind, LinkSpec
from planner.hardware.specs import Confidence

HARDWARE_DB = Path(__file__).resolve().parents[3] / "hardware_db"
FILES = sorted((HARDWARE_DB / "links").glob("*.yaml"))
SPECS = load_links().all()
IDS = [spec.id for spec in SPECS]


def test_every_file_is_loaded_under_its_own_name() -> None:
    assert sorted(IDS) == sorted(path.stem for path in FILES)
    assert len(FILES) >= 20


@pytest.mark.parametrize(
    ("link", "gb_per_s"),
    [
        # links x GB/s of one link in one direction; lanes x GT/s x 128/130 / 8; Gb/s / 8
        ("nvlink-2", 6 * 25), ("nvswitch-3", 12 * 25), ("nvswitch-4", 18 * 25),
        ("nvswitch-5", 18 * 50), ("nvlink-bridge-3-ga102", 4 * 14.0625),
        ("pcie-3", 15.75), ("pcie-4", 31.5), ("pcie-5", 63), ("infiniband-hdr", 200 / 8),
        ("infiniband-ndr", 400 / 8), ("efa-1", 100 / 8), ("efa-2", 100 / 8), ("efa-3", 200 / 8),
        ("efa-4", 400 / 8), ("roce-400", 400 / 8),
    ],
)  # fmt: skip
def test_wire_rates(link: str, gb_per_s: float) -> None:
    spec = load_links().by_id(link)
    assert spec is not None
    assert spec.wire_bytes_per_s == gb_per_s * 1e9


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_measured_rates_are_below_the_wire(spec: LinkSpec) -> None:
    """A sum in the switches needs half the bytes on the wire, so it may pass it, but not far."""
    for row in spec.measured:
        most = 1.1 if row.collective is Collective.ALL_REDUCE and spec.in_switch_share else 1.0
        assert max(rate for _, rate in row.points) <= most * spec.wire_bytes_per_s
        assert row.points[0][1] < row.points[-1][1]
        assert spec.most_cards is None or row.cards <= spec.most_cards


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_the_largest_measured_message_agrees_with_the_share_of_a_ring(spec: LinkSpec) -> None:
    shares = dict(spec.ring_shares)
    for row in spec.measured:
        if row.collective is Collective.ALL_GATHER and row.cards in shares:
            reached = row.points[-1][1] / spec.wire_bytes_per_s
            assert 0.75 * shares[row.cards] <= reached <= 1.05 * shares[row.cards]


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_wire_is_half_of_what_the_card_has_both_ways(spec: LinkSpec) -> None:
    for card in spec.default_for:
        gpu = load_gpus().find(card).spec
        assert gpu.id == card
        assert gpu.nvlink_bytes_per_s == 2 * spec.wire_bytes_per_s


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_what_is_assumed_is_not_of_high_confidence(spec: LinkSpec) -> None:
    assumed = any("assumed" in text for _, text in spec.sources)
    assert not (assumed and spec.confidence is Confidence.HIGH)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_key_is_documented(path: Path) -> None:
    record = yaml.safe_load(path.read_text(encoding="utf-8"))
    document = (HARDWARE_DB / "SCHEMA.md").read_text(encoding="utf-8")
    document = document.split("\n# Links\n")[1].split("\n# Hosts\n")[0]
    named = set(re.findall(r"`([a-z0-9_.\[\]]+)`", document)) | {"id", "name", "aliases"}
    keys = {
        f"{key}.{below}"
        for key in ("wire", "reached", "latency_us", "channels")
        for below in record.get(key) or ()
    }
    rows = (record.get("measured") or {}).get("rows") or ()
    keys |= {f"measured.rows[].{key}" for row in rows for key in row}
    assert {*record, *keys} <= named


def test_kinds_say_what_they_join() -> None:
    between = {spec.kind for spec in SPECS if spec.kind.between_hosts}
    assert between == {LinkKind.INFINIBAND, LinkKind.ROCE, LinkKind.EFA}
    assert all(not spec.default_for for spec in SPECS if spec.kind.between_hosts)


def test_one_link_at_most_is_the_default_of_a_card() -> None:
    cards = [card for spec in SPECS for card in spec.default_for]
    assert len(cards) == len(set(cards))


@pytest.mark.parametrize(
    ("card", "link", "note"),
    [
        ("h100-sxm5-80gb", "nvswitch-4", "assuming NVLink 4 with NVSwitch between the cards"),
        ("a100-sxm4-40gb", "nvswitch-3", "assuming NVLink 3 with NVSwitch between the cards"),
        ("rtx-4090", "pcie-4", "assuming PCIe 4 x16 between the cards"),
        ("t4", "pcie-3", "assuming PCIe 3 x16 between the cards"),
        ("h100-pcie-80gb", "pcie-5",
         "assuming PCIe 5 x16 between the cards, without NVLink bridges"),
    ],
)  # fmt: skip
def test_the_link_of_a_card_when_nobody_names_a_host(card: str, link: str, note: str) -> None:
    match = load_links().of_card(load_gpus().find(card).spec)
    assert (match.spec.id, match.requested, match.note) == (link, card, note)


def test_every_nvidia_card_but_the_gh200_has_a_link() -> None:
    for card in load_gpus().all():
        if card.emulatable and card.id != "gh200-96gb":
            assert load_links().of_card(card).note


@pytest.mark.parametrize(
    ("collective", "cards", "factor"),
    [
        ("all_reduce", 8, 1.75), ("all_reduce", 2, 1.0), ("all_gather", 8, 0.875),
        ("reduce_scatter", 4, 0.75), ("all_to_all", 4, 0.75), ("broadcast", 8, 1.0),
        ("send_recv", 2, 1.0),
    ],
)  # fmt: skip
def test_traffic_factors_are_those_of_nccl_tests(
    collective: str, cards: int, factor: float
) -> None:
    assert Collective(collective).traffic_factor(cards) == factor


def test_json_has_rates_in_bytes() -> None:
    spec = load_links().find("dgx h100 nvlink").spec
    document = spec.to_dict()
    assert document["wire_bytes_per_s"] == 450e9
    assert document["between_hosts"] is False
    row = document["measured"][2]
    assert (row["collective"], row["cards"]) == ("all_reduce", 8)
    assert row["points"][-1] == {"size_bytes": 512 << 20, "bus_bytes_per_s": 445e9}
