"""Finding processors and hosts by name, and what is said of records that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from planner.errors import HardwareDatabaseError, UnknownCpuError, UnknownHostError, UsageError
from planner.hardware.cpu_specs import CpuVendor
from planner.hardware.database import load_cpus, load_gpus, load_hosts
from planner.units import GIB, MIB
from tests.unit.hardware.own_records import written


@pytest.fixture
def cpu() -> dict[str, Any]:
    """A user's record of an invented processor."""
    return {
        "id": "lab-cpu",
        "name": "Intel Xeon Lab 1",
        "aliases": ["labby"],
        "vendor": "intel",
        "architecture": "ice-lake",
        "cores": {"performance": 8, "efficiency": 4, "threads": 20},
        "clock": {"base_mhz": 2000, "boost_mhz": 4000},
        "cache": {"l2_mib": 10, "l3_mib": None},
        "memory": {"channels": 2, "rate_mt_per_s": 3200, "bandwidth_gb_per_s": 51.2},
        "board": {"pcie_generation": 4, "pcie_lanes": 20, "tdp_w": 65},
        "sources": dict.fromkeys(["cores", "clock", "cache", "memory", "board"], "our own lab"),
        "confidence": "low",
    }


@pytest.fixture
def host() -> dict[str, Any]:
    """A user's record of an invented host."""
    return {
        "id": "lab-host",
        "name": "Lab host",
        "aliases": ["our-box"],
        "cpu": "epyc-7763",
        "gpus": {"rtx-3090": 2},
        "processor": {"vcpus": 16, "physical_cores": 8},
        "memory": {"ram_gib": 64, "shm_gib": 0.0625},
        "slot": {"pcie_generation": 4, "pcie_lanes": 8},
        "storage": {"read_gb_per_s": 1.5},
        "prices": [{"currency": "USD", "to_buy": 9000, "provider": "us", "date": "2026-11"}],
        "sources": dict.fromkeys(
            ["processor", "memory", "slot", "storage", "prices"], "our own lab"
        ),
        "confidence": "low",
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("epyc-7763", "epyc-7763"),
        ("EPYC 7763", "epyc-7763"),
        ("AMD EPYC 7763", "epyc-7763"),
        ("7763", "epyc-7763"),
        ("Intel Xeon E5-2686 v4", "xeon-e5-2686-v4"),
        ("e5 2686v4", "xeon-e5-2686-v4"),
        ("8480+", "xeon-platinum-8480-plus"),
        ("Xeon Platinum 8480+", "xeon-platinum-8480-plus"),
        ("i9-13900k", "core-i9-13900k"),
        ("13900K", "core-i9-13900k"),
        ("Ryzen 9 5950X", "ryzen-9-5950x"),
        ("5950x", "ryzen-9-5950x"),
        ("graviton 3", "graviton3"),
    ],
)
def test_spellings_of_processors(name: str, found: str) -> None:
    match = load_cpus().find(name)
    assert (match.spec.id, match.requested, match.note) == (found, name, None)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("aws-g5-xlarge", "aws-g5-xlarge"),
        ("g5.xlarge", "aws-g5-xlarge"),
        ("AWS g5.xlarge", "aws-g5-xlarge"),
        ("p4d", "aws-p4d-24xlarge"),
        ("a2-highgpu-1g", "gcp-a2-highgpu-1g"),
        ("Standard_NC24ads_A100_v4", "azure-nc24ads-a100-v4"),
        ("lambda 1x a10", "lambda-1x-a10"),
        ("gpu_1x_a10", "lambda-1x-a10"),
        ("desktop 4090", "workstation-rtx-4090-i9-13900k"),
    ],
)
def test_spellings_of_hosts(name: str, found: str) -> None:
    match = load_hosts().find(name)
    assert (match.spec.id, match.requested, match.note) == (found, name, None)


def test_unknown_processors_and_hosts_are_told_near_names() -> None:
    with pytest.raises(UnknownCpuError, match=r"'5959x'.*near names: .*ryzen-9-5950x.*cpus") as cpu:
        load_cpus().find("5959x")
    with pytest.raises(UnknownHostError, match=r"near names: .*aws-g5-xlarge.*`this`") as host:
        load_hosts().find("g55.xlarge")
    assert cpu.value.exit_code == host.value.exit_code == 2
    with pytest.raises(UnknownHostError, match=r"'%%%'; run `planner hosts`"):
        load_hosts().find("%%%")


def test_a_users_processor_and_host(
    tmp_path: Path, cpu: dict[str, Any], host: dict[str, Any]
) -> None:
    written(tmp_path / "cpus", cpu)
    written(tmp_path / "hosts", {**host, "cpu": "lab-cpu"})
    spec = load_hosts(tmp_path).find("our box").spec
    assert spec.cpu == load_cpus(tmp_path).find("Labby").spec
    assert (spec.cpu.cores, spec.cpu.threads, spec.cpu.vendor) == (12, 20, CpuVendor.INTEL)
    assert (spec.cpu.base_clock_hz, spec.cpu.boost_clock_hz) == (2_000_000_000, 4_000_000_000)
    assert (spec.cpu.l2_bytes, spec.cpu.l3_bytes) == (10 * MIB, None)
    assert spec.cpu.memory_transfers_per_s == 3_200_000_000
    assert spec.cpu.memory_bandwidth_bytes_per_s == 51.2e9
    assert spec.gpus == (("rtx-3090", 2),)
    assert (spec.ram_bytes, spec.shm_bytes) == (64 * GIB, 64 * MIB)
    assert (spec.pcie_generation, spec.pcie_lanes) == (4, 8)
    assert spec.storage_bytes_per_s == 1.5e9
    assert spec.prices[0].usd_to_buy == 9000
    assert len(load_gpus(tmp_path).all()) == len(load_gpus().all())


def test_users_records_replace_ours_and_their_names_win(
    tmp_path: Path, cpu: dict[str, Any], host: dict[str, Any]
) -> None:
    written(tmp_path / "cpus", {**cpu, "id": "epyc-7763", "aliases": ["5950x"]})
    written(tmp_path / "hosts", {**host, "aliases": ["g5.xlarge"]})
    assert load_cpus(tmp_path).find("7763").spec.name == "Intel Xeon Lab 1"
    assert load_cpus(tmp_path).find("5950X").spec.id == "epyc-7763"
    assert len(load_cpus(tmp_path).all()) == len(load_cpus().all())
    assert load_hosts(tmp_path).find("g5.xlarge").spec.id == "lab-host"
    # ours that name the processor get the user's record of it
    assert load_hosts(tmp_path).find("runpod-a100").spec.cpu.name == "Intel Xeon Lab 1"


def changed(record: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *above, key = path.split(".")
    section = record
    for part in above:
        section = section[int(part)] if part.isdigit() else section[part]  # type: ignore[index] # a list
    if value is ...:
        del section[key]
    else:
        section[key] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("cores.threads", 11, "cores.threads: 11 is not from 1 to 2 for each of 12 cores"),
        ("cores.threads", 25, "cores.threads: 25 is not from 1 to 2 for each of 12 cores"),
        ("cores.performance", 0, "cores.performance: 0 is outside"),
        ("cores.efficiency", ..., "cores.efficiency: is missing"),
        ("clock.base_mhz", 4001, "clock.base_mhz: 4001 is above boost_mhz, 4000"),
        ("clock.boost_mhz", 4.0, "clock.boost_mhz: 4 is outside 100 to 10000; is it in the unit"),
        ("clock.boost_mhz", None, "clock.boost_mhz: is null"),
        ("cache", ..., "cache: is missing"),
        ("memory.speed", 1, "memory.speed: is not a key here"),
        ("memory.bandwidth_gb_per_s", "51 GB/s", "memory.bandwidth_gb_per_s: must be a plain"),
        ("board.pcie_generation", 40, "board.pcie_generation: 40 is outside"),
        ("vendor", "acme", "vendor: 'acme' is not one of amd, intel"),
        ("architecture", "Ice Lake", "architecture: 'Ice Lake' does not have the form"),
        ("decode", {"pillow_items_per_s": 1}, "decode.pillow_items_per_s: 1 is outside"),
        ("decode", {"pillow_items_per_s": 500}, "sources.decode: is missing"),
        ("sources.board", ..., "sources.board: is missing"),
        ("colour", "green", "colour: is not a key here"),
        ("name", ..., "name: is missing"),
    ],
)
def test_bad_processors_name_file_and_key(
    tmp_path: Path, cpu: dict[str, Any], path: str, value: object, says: str
) -> None:
    file = written(tmp_path / "cpus", changed(cpu, path, value))
    with pytest.raises(HardwareDatabaseError) as caught:
        load_cpus(tmp_path)
    assert str(caught.value).startswith(f"{file}: {says}")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("cpu", "epyc-7764", "cpu: 'epyc-7764' is not the id of a processor; run `planner cpus`"),
        ("cpu", ..., "cpu: is missing"),
        ("gpus", {"rtx-3091": 1}, "gpus.rtx-3091: is not the id of a card; near ids: rtx-3090"),
        ("gpus", {"3090": 1}, "gpus.3090: is not the id of a card"),
        ("gpus", {"rtx-3090": 0}, "gpus.rtx-3090: 0 is outside"),
        ("gpus", ["rtx-3090"], "gpus: must be a mapping"),
        ("processor.physical_cores", 17, "processor.physical_cores: 17 is above vcpus, 16"),
        ("processor.vcpus", 0, "processor.vcpus: 0 is outside"),
        ("memory.ram_gib", 65_537, "memory.ram_gib: 65537 is outside"),
        ("memory.shm_gib", 65, "memory.shm_gib: 65 is above ram_gib, 64"),
        ("slot", {"pcie_lanes": 8}, "slot.pcie_generation: is missing"),
        ("slot", None, "sources.slot: is not a key here"),
        ("storage.read_gb_per_s", 1500, "storage.read_gb_per_s: 1500 is outside"),
        ("prices.0.currency", ..., "prices[0].currency: is missing"),
        ("prices.0.currency", "EUR", "prices[0].currency: 'EUR' is not one of USD"),
        ("prices.0.date", "yesterday", "prices[0].date: 'yesterday' does not have the form"),
        ("prices.0.per_hour", 1, "prices[0].per_hour: give either per_hour or to_buy"),
        ("prices.0.usd_per_hour", 1, "prices[0].usd_per_hour: is not a key here"),
        ("sources.prices", ..., "sources.prices: is missing"),
    ],
)
def test_bad_hosts_name_file_and_key(
    tmp_path: Path, host: dict[str, Any], path: str, value: object, says: str
) -> None:
    file = written(tmp_path / "hosts", changed(host, path, value))
    with pytest.raises(HardwareDatabaseError) as caught:
        load_hosts(tmp_path)
    assert str(caught.value).startswith(f"{file}: {says}")


@pytest.mark.parametrize("kind", ["cpus", "hosts"])
def test_two_records_with_one_alias(
    tmp_path: Path, cpu: dict[str, Any], host: dict[str, Any], kind: str
) -> None:
    record, load = (cpu, load_cpus) if kind == "cpus" else (host, load_hosts)
    first = written(tmp_path / kind, record, "a.yaml")
    second = written(tmp_path / kind, {**record, "id": "other"}, "b.yaml")
    with pytest.raises(HardwareDatabaseError, match=re.escape(f"{second}: aliases: ")) as caught:
        load(tmp_path)
    assert str(first) in str(caught.value)


def test_a_processor_is_not_read_as_a_card(tmp_path: Path, cpu: dict[str, Any]) -> None:
    written(tmp_path, cpu)
    with pytest.raises(HardwareDatabaseError, match=r"one\.yaml: chip: is missing"):
        load_gpus(tmp_path)


@pytest.mark.parametrize("load", [load_gpus, load_cpus, load_hosts])
def test_folders_without_records(tmp_path: Path, load: Any) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load(tmp_path / "missing")
    with pytest.raises(
        UsageError, match=r"no \*\.yaml there or under gpus/, cpus/, links/, hosts/ or models/"
    ):
        load(tmp_path)
