"""The shipped hosts: each is read in full, and agrees with its processor and its cards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from planner.hardware.database import load_gpus, load_hosts, load_links
from planner.hardware.host_specs import HostSpec
from planner.units import GIB

HARDWARE_DB = Path(__file__).resolve().parents[3] / "hardware_db"
FILES = sorted((HARDWARE_DB / "hosts").glob("*.yaml"))
SPECS = load_hosts().all()
IDS = [spec.id for spec in SPECS]
# Azure rents these cores without their second thread.
WHOLE_CORES = {"azure-nc24ads-a100-v4"}


def test_every_file_is_loaded_under_its_own_name() -> None:
    assert sorted(IDS) == sorted(path.stem for path in FILES)
    assert len(FILES) >= 12


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_cores_are_those_of_the_processor(spec: HostSpec) -> None:
    two = spec.id.startswith("dgx-") or spec.id in ("aws-p4d-24xlarge", "aws-p5-48xlarge")
    sockets = 2 if two else 1
    assert spec.vcpus <= sockets * spec.cpu.threads
    assert spec.physical_cores <= sockets * spec.cpu.cores
    if spec.id.startswith("workstation"):
        assert (spec.vcpus, spec.physical_cores) == (spec.cpu.threads, spec.cpu.cores)
    elif spec.id in WHOLE_CORES or spec.cpu.threads == spec.cpu.cores:
        assert spec.physical_cores == spec.vcpus
    else:
        assert spec.physical_cores == spec.vcpus / 2


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_slot_is_no_better_than_processor_and_card(spec: HostSpec) -> None:
    for card, count in spec.gpus:
        assert 1 <= count <= 8
        gpu = load_gpus().find(card).spec
        assert gpu.id == card
        if spec.pcie_generation is not None:
            assert spec.cpu.pcie_generation is not None
            assert gpu.pcie_generation is not None
            assert spec.pcie_generation <= min(spec.cpu.pcie_generation, gpu.pcie_generation)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_prices_and_memory_are_plausible(spec: HostSpec) -> None:
    cards = sum(count for _, count in spec.gpus)
    assert cards >= 1
    assert 1 * GIB <= spec.ram_bytes / spec.vcpus <= 16 * GIB
    for price in spec.prices:
        assert price.usd_per_hour is not None
        assert 0.3 <= price.usd_per_hour / cards <= 8
        assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", price.date)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # AWS, specifications of accelerated computing instances, among them Amazon EBS
        ("g4dn.xlarge", ("xeon-platinum-8259cl", 4, 2.0, 16, 118.75e6)),
        ("g5.xlarge", ("epyc-7r32", 4, 2.0, 16, 87.5e6)),
        ("g6.xlarge", ("epyc-7r13", 4, 2.0, 16, 125e6)),
        ("p3.2xlarge", ("xeon-e5-2686-v4", 8, 4.0, 61, 218.75e6)),
        ("p4d.24xlarge", ("xeon-platinum-8275cl", 96, 48.0, 1152, 2375e6)),
        ("p5.48xlarge", ("epyc-7r13", 192, 96.0, 2048, 10e9)),
        ("runpod-a100", ("epyc-7763", 8, 4.0, 117, None)),
    ],
)
def test_figures_of_known_instances(name: str, expected: tuple[object, ...]) -> None:
    spec = load_hosts().find(name).spec
    found = (
        spec.cpu.id, spec.vcpus, spec.physical_cores, spec.ram_bytes // GIB,
        spec.storage_bytes_per_s,
    )  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_section_has_a_source_and_every_key_is_documented(path: Path) -> None:
    record = yaml.safe_load(path.read_text(encoding="utf-8"))
    filled = {
        key
        for key, value in record.items()
        if isinstance(value, (dict, list)) and key not in ("aliases", "gpus", "sources")
    }
    assert set(record["sources"]) == filled
    document = (HARDWARE_DB / "SCHEMA.md").read_text(encoding="utf-8").split("\n# Hosts\n")[1]
    named = set(re.findall(r"`([a-z0-9_.\[\]]+)`", document)) | {
        "id", "name", "aliases", "assumed_for",
    }  # fmt: skip
    keys = {
        f"{key}.{below}"
        for key in ("processor", "memory", "slot", "links", "storage")
        for below in record.get(key) or ()
    }
    keys |= {f"prices[].{key}" for price in record.get("prices", ()) for key in price}
    assert {*record, *keys} <= named
    assert re.search(r"^cpu:", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "cards", "network", "gb_per_s"),
    [
        # AWS: 400 and 3200 Gb/s; NVIDIA: eight adapters of 200 and 400 Gb/s
        ("p4d", "nvswitch-3", "efa-1", 50),
        ("p5", "nvswitch-4", "efa-2", 400),
        ("dgx-a100", "nvswitch-3", "infiniband-hdr", 200),
        ("dgx-h100", "nvswitch-4", "infiniband-ndr", 400),
        ("dgx-h200", "nvswitch-4", "infiniband-ndr", 400),
        ("dgx-b200", "nvswitch-5", "infiniband-ndr", 400),
    ],
)
def test_links_of_known_hosts(name: str, cards: str, network: str, gb_per_s: float) -> None:
    links = load_hosts().find(name).spec.links
    assert links is not None
    assert (links.cards, links.network) == (cards, network)
    assert links.network_bytes_per_s == gb_per_s * 1e9


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_links_fit_the_cards_and_the_adapters(spec: HostSpec) -> None:
    """Hosts of one card need none; the cards of the others have the link by themselves too."""
    count = sum(count for _, count in spec.gpus)
    assert (spec.links is not None) == (count > 1)
    if spec.links is None:
        return
    known = load_links()
    assert known.of_card(load_gpus().find(spec.gpus[0][0]).spec).spec.id == spec.links.cards
    network = known.by_id(spec.links.network or "")
    assert network is not None
    assert spec.links.network_bytes_per_s is not None
    adapters = spec.links.network_bytes_per_s / network.wire_bytes_per_s
    assert adapters == int(adapters) >= 4
