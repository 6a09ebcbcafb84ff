"""The shipped processors: each is read in full, and its figures agree with one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from planner.hardware.cpu_specs import DECODE_ITEMS_PER_S_AND_GHZ, CpuSpec, CpuVendor
from planner.hardware.database import load_cpus
from planner.machine.cpu_identity import plain_name
from planner.units import MIB

HARDWARE_DB = Path(__file__).resolve().parents[3] / "hardware_db"
FILES = sorted((HARDWARE_DB / "cpus").glob("*.yaml"))
SPECS = load_cpus().all()
IDS = [spec.id for spec in SPECS]

# MiB of L2 for each core of an architecture, from its maker's description.
L2_MIB_PER_CORE = {
    "zen2": 0.5, "zen3": 0.5, "zen4": 1, "zen5": 1, "broadwell": 0.25, "cascade-lake": 1,
    "ice-lake": 1.25, "sapphire-rapids": 2, "emerald-rapids": 2, "neoverse-n1": 1,
    "neoverse-v1": 1,
}  # fmt: skip
PCIE_GENERATION = {
    "zen2": 4, "zen3": 4, "zen4": 5, "zen5": 5, "broadwell": 3, "cascade-lake": 3, "ice-lake": 4,
    "sapphire-rapids": 5, "emerald-rapids": 5, "alder-lake": 5, "raptor-lake": 5,
    "neoverse-n1": 4, "neoverse-v1": 5,
}  # fmt: skip
# One thread, Pillow: the table of Iglovikov's imread_benchmark; nobody else has a rate.
DECODE = {
    "epyc-9b14": 537, "epyc-9b45": 726, "xeon-platinum-8581c": 577, "ampere-altra-q64-30": 360,
    "google-axion": 551,
}  # fmt: skip


def test_every_file_is_loaded_under_its_own_name() -> None:
    assert sorted(IDS) == sorted(path.stem for path in FILES)
    assert len(FILES) >= 24


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_threads_are_one_or_two_for_each_core(spec: CpuSpec) -> None:
    performance, efficiency = spec.performance_cores, spec.efficiency_cores
    assert spec.threads in {spec.cores, 2 * performance + efficiency}
    arm = spec.architecture.startswith("neoverse")
    assert (spec.threads == spec.cores) == arm
    assert efficiency == 0 or spec.architecture in ("alder-lake", "raptor-lake")


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_bandwidth_is_channels_times_rate(spec: CpuSpec) -> None:
    if None in (spec.memory_channels, spec.memory_transfers_per_s):
        assert spec.memory_bandwidth_bytes_per_s is None or spec.id == "grace"
        return
    assert spec.memory_channels is not None
    assert spec.memory_transfers_per_s is not None
    computed = spec.memory_channels * spec.memory_transfers_per_s * 8
    assert spec.memory_bandwidth_bytes_per_s == pytest.approx(computed, rel=0.05)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_clocks_and_caches_are_in_order(spec: CpuSpec) -> None:
    assert spec.boost_clock_hz is not None
    assert 2e9 <= spec.boost_clock_hz <= 6.2e9
    assert spec.base_clock_hz is None or 1.5e9 <= spec.base_clock_hz <= spec.boost_clock_hz
    assert spec.architecture in DECODE_ITEMS_PER_S_AND_GHZ
    per_core = L2_MIB_PER_CORE.get(spec.architecture)
    if per_core is not None and spec.l2_bytes is not None:
        assert spec.l2_bytes == spec.cores * per_core * MIB
    generation = PCIE_GENERATION.get(spec.architecture)
    assert generation is None or spec.pcie_generation == generation


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_architectures_are_the_vendors(spec: CpuSpec) -> None:
    makers = {"zen": CpuVendor.AMD, "neoverse": None}
    prefix = re.split(r"[-\d]", spec.architecture)[0]
    maker = makers.get(prefix, CpuVendor.INTEL)
    if maker is None:
        assert spec.vendor not in (CpuVendor.AMD, CpuVendor.INTEL)
    else:
        assert spec.vendor is maker


def test_decode_rates_are_the_measured_ones_and_no_others() -> None:
    rates = {spec.id: spec.jpeg_decode_items_per_s for spec in SPECS}
    assert {cpu: rate for cpu, rate in rates.items() if rate is not None} == DECODE


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_names_are_as_this_machine_would_write_them(spec: CpuSpec) -> None:
    assert plain_name(spec.name) == spec.name
    assert load_cpus().find(spec.name).spec.id == spec.id


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_section_has_a_source_and_every_key_is_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    record = yaml.safe_load(text)
    sections = {key for key, value in record.items() if isinstance(value, dict)} - {"sources"}
    assert set(record["sources"]) == sections
    for key, source in record["sources"].items():
        text = record["sources"]["cores"] if source.startswith("as cores") else source
        assert len(text) > 30 or text == "not published", key
    document = (HARDWARE_DB / "SCHEMA.md").read_text(encoding="utf-8").split("\n# Processors\n")[1]
    named = set(re.findall(r"`([a-z0-9_.]+)`", document.split("\n# Hosts\n")[0])) | {
        "id", "name", "aliases", "assumed_for",
    }  # fmt: skip
    keys = {
        f"{key}.{below}"
        for key, value in record.items() if isinstance(value, dict) and key != "sources"
        for below in value
    }  # fmt: skip
    assert {*record, *keys} <= named
    assert "\nvendor:" in path.read_text(encoding="utf-8").split("\narchitecture:")[0]
