"""`planner hosts`: what it prints as a table, as a sheet and as JSON, and `show this`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.hosts import hosts
from planner.cli.root import root
from planner.errors import UnknownHostError
from planner.hardware.database import CpuDatabase, load_hosts
from planner.hardware.host_specs import HostSpec
from planner.machine import this_host
from planner.units import GIB

SHIPPED = Path(__file__).resolve().parents[3] / "hardware_db" / "hosts"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(hosts, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_has_one_line_per_host() -> None:
    lines = run().splitlines()
    specs = load_hosts().all()
    assert len(lines) == len(specs) + 1
    for heading in ("host", "vCPUs", "cores", "core speed", "RAM GiB", "disk GB/s", "USD an hour"):
        assert heading in lines[0]
    for line, spec in zip(lines[1:], specs, strict=True):
        assert line.startswith(f"{spec.id} ")
        links = "-" if spec.links is None else f"{spec.links.cards} + {spec.links.network}"
        assert spec.cpu.name in line
        assert line.rstrip().endswith(links)


def test_list_figures_of_two_hosts() -> None:
    lines = {line.split()[0]: line.split()[1:] for line in run().splitlines()[1:]}
    assert lines["aws-g5-xlarge"] == [
        "4", "2", "0.66", "16", "0.09", "1.01", "1", "x", "a10g", "AMD", "EPYC", "7R32",
        "-",
    ]  # fmt: skip
    assert lines["workstation-rtx-3090-ryzen-9-5950x"][:6] == [
        "32",
        "16",
        "1.17",
        "64",
        "7.00",
        "-",
    ]


def test_json_keys_are_stable() -> None:
    document = json.loads(run("--json"))
    assert document["schema_version"] == 1
    assert len(document["hosts"]) == len(load_hosts().all())
    shown = json.loads(run("show", "p4d", "--json"))
    assert list(shown) == ["schema_version", "requested", "note", "host"]
    host = shown["host"]
    assert set(host) >= {
        "id", "name", "aliases", "cpu", "vcpus", "physical_cores", "ram_bytes", "shm_bytes",
        "gpus", "pcie_generation", "pcie_lanes", "storage_bytes_per_s",
        "memory_copy_bytes_per_s", "links", "prices", "sources", "confidence", "note",
    }  # fmt: skip
    assert host["cpu"]["id"] == "xeon-platinum-8275cl"
    assert host["gpus"] == [{"id": "a100-sxm4-40gb", "count": 8}]
    assert host["ram_bytes"] == 1152 * GIB
    assert host["storage_bytes_per_s"] == 2.375e9
    assert host["links"] == {
        "cards": "nvswitch-3", "network": "efa-1", "network_bytes_per_s": 50e9,
    }  # fmt: skip
    assert set(host["prices"][0]) == {"provider", "date", "usd_per_hour", "usd_to_buy"}
    assert shown == json.loads(run("--json", "show", "p4d"))


@pytest.mark.parametrize("host", ["aws-g4dn-xlarge", "lambda-1x-a10", "gcp-a2-highgpu-1g"])
def test_show_names_every_source(host: str) -> None:
    output = run("show", host)
    for group, source in load_hosts().find(host).spec.sources:
        assert f"\n{group} " in output
        assert source in output


def test_show_describes_the_host_and_its_processor() -> None:
    output = run("show", "g4dn.xlarge")
    assert output.splitlines()[0] == "AWS g4dn.xlarge"
    for said in (
        "4 hardware threads of 2 cores",
        "16.0 GiB",
        "1 x t4",
        "generation 3 x8",
        "0.119 GB/s",
        "0.526 USD an hour (AWS, 2025-06)",
        "\nprocessor: Intel Xeon Platinum 8259CL\n",
        "0.67; estimated from the boost clock, 3.5 GHz",
    ):
        assert said in output


def test_show_names_the_links_of_several_cards() -> None:
    output = run("show", "dgx-h100")
    assert re.search(r"^between cards +nvswitch-4$", output, re.MULTILINE)
    assert re.search(
        r"^between hosts +infiniband-ndr, 400 GB/s in one direction$", output, re.MULTILINE
    )
    assert re.search(r"^between cards +-$", run("show", "g5.xlarge"), re.MULTILINE)


def test_unknown_host_is_a_usage_error() -> None:
    with pytest.raises(UnknownHostError, match="aws-g5-xlarge"):
        run("show", "g5.xlorge")
    result = CliRunner().invoke(root, ["hosts", "show", "g5.xlorge"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no host named 'g5.xlorge'; near names: ")


def test_own_folder_is_taken(tmp_path: Path) -> None:
    mine = (SHIPPED / "aws-g5-xlarge.yaml").read_text(encoding="utf-8")
    mine = mine.replace("id: aws-g5-xlarge", "id: mine").replace("AWS g5.xlarge", "My box")
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "mine.yaml").write_text(mine, encoding="utf-8")
    option = ["--hardware-db", str(tmp_path)]
    assert run(*option, "show", "g5").startswith("My box\n")
    assert run("show", "mine", *option).startswith("My box\n")


@pytest.mark.parametrize("name", ["this", "This"])
def test_this_is_measured(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def measured(cpus: CpuDatabase) -> HostSpec:
        assert cpus.find("7763").spec.id == "epyc-7763"
        known = load_hosts().find("runpod-a100").spec
        return replace(known, id="this", name="this machine", memory_copy_bytes_per_s=9.87e9)

    monkeypatch.setattr(this_host, "this_host", measured)
    assert "9.87 GB/s" in run("show", name)
    document = json.loads(run("show", name, "--json"))
    assert document["requested"] == name
    assert document["host"]["memory_copy_bytes_per_s"] == 9.87e9
