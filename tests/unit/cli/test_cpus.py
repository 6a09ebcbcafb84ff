"""`planner cpus`: what it prints as a table, as a sheet and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from planner.cli import tables
from planner.cli.cpus import cpus
from planner.cli.root import root
from planner.errors import UnknownCpuError
from planner.hardware.database import load_cpus

SHIPPED = Path(__file__).resolve().parents[3] / "hardware_db" / "cpus"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cpus, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_has_one_line_per_processor() -> None:
    lines = run().splitlines()
    specs = load_cpus().all()
    assert len(lines) == len(specs) + 1
    for heading in ("processor", "cores", "threads", "boost GHz", "core speed", "JPEG/s", "name"):
        assert heading in lines[0]
    for line, spec in zip(lines[1:], specs, strict=True):
        assert line.startswith(f"{spec.id} ")
        assert line.rstrip().endswith(spec.name)


def test_list_figures_of_two_processors() -> None:
    lines = {line.split()[0]: line.split()[1:-3] for line in run().splitlines()[1:]}
    assert lines["epyc-9b14"] == ["96", "192", "3.70", "1.00", "537", "384", "461"]
    assert lines["epyc-7r13"] == ["48", "96", "3.60", "0.86", "-", "-", "205"]


def test_json_keys_are_stable() -> None:
    document = json.loads(run("--json"))
    assert document["schema_version"] == 1
    assert len(document["cpus"]) == len(load_cpus().all())
    shown = json.loads(run("show", "9B45", "--json"))
    assert list(shown) == ["schema_version", "requested", "note", "cpu"]
    assert (shown["requested"], shown["note"]) == ("9B45", None)
    assert set(shown["cpu"]) >= {
        "id", "name", "aliases", "vendor", "architecture", "performance_cores",
        "efficiency_cores", "threads", "base_clock_hz", "boost_clock_hz", "l2_bytes", "l3_bytes",
        "memory_channels", "memory_transfers_per_s", "memory_bandwidth_bytes_per_s",
        "pcie_generation", "pcie_lanes", "tdp_w", "jpeg_decode_items_per_s", "core_speed",
        "core_speed_basis", "sources", "confidence", "note",
    }  # fmt: skip
    assert shown["cpu"]["jpeg_decode_items_per_s"] == 726
    assert shown["cpu"]["core_speed"] == pytest.approx(726 / 537)
    assert shown["cpu"]["l3_bytes"] is None
    assert shown == json.loads(run("--json", "show", "9B45"))


@pytest.mark.parametrize("cpu", ["epyc-7r32", "core-i9-13900k", "google-axion"])
def test_show_names_every_source(cpu: str) -> None:
    output = run("show", cpu)
    for group, source in load_cpus().find(cpu).spec.sources:
        assert f"\n{group} " in output
        assert source in output


def test_show_says_how_fast_a_core_is_and_why() -> None:
    output = run("show", "13900k")
    assert output.splitlines()[0] == "Intel Core i9-13900K"
    assert "24 (8 performance, 16 efficiency), 32 threads" in output
    assert "3.00 to 5.80 GHz" in output
    assert "1.56; estimated from the boost clock, 5.8 GHz" in output
    assert "89.6 GB/s, 2 channels" in output
    assert "generation 5 x20" in output


def test_unknown_processor_is_a_usage_error() -> None:
    with pytest.raises(UnknownCpuError, match="ryzen-9-5950x"):
        run("show", "5950z")
    result = CliRunner().invoke(root, ["cpus", "show", "5950z"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no processor named '5950z'; near names: ")


@pytest.mark.parametrize("before", [True, False])
def test_own_folder_is_taken_on_either_side_of_show(tmp_path: Path, before: bool) -> None:
    mine = (SHIPPED / "grace.yaml").read_text(encoding="utf-8").replace("id: grace", "id: mine")
    mine = mine.replace("NVIDIA Grace", "My processor")
    (tmp_path / "cpus").mkdir()
    (tmp_path / "cpus" / "mine.yaml").write_text(mine, encoding="utf-8")
    option = ["--hardware-db", str(tmp_path)]
    arguments = [*option, "show", "mine"] if before else ["show", "mine", *option]
    assert run(*arguments).startswith("My processor\n")
    assert "\nmine " in run(*option)


@pytest.mark.parametrize("width", [200, 80, 50])
def test_narrow_terminals_lose_columns_never_letters(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(tables, "report_console", lambda piped: Console(width=width))
    lines = run().splitlines()
    assert max(len(line) for line in lines) <= width
    for spec in load_cpus().all():
        assert any(line.startswith(f"{spec.id} ") for line in lines)
    assert ("name" in lines[1]) == (width == 200)
