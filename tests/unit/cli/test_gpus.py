"""`planner gpus`: what it prints, on a pipe and on terminals of several widths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

import planner.cli.gpus as command
from planner.cli import tables
from planner.cli.gpus import gpus
from planner.errors import UnknownGpuError, UsageError
from planner.hardware.database import load_gpus
from planner.units import MIB


def run(*arguments: str) -> str:
    result = CliRunner().invoke(gpus, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_has_one_line_per_card_with_full_names() -> None:
    lines = run().splitlines()
    specs = load_gpus().all()
    assert len(lines) == len(specs) + 1
    for heading in ("card", "usable GiB", "cc", "GB/s", "fp32", "fp16", "bf16", "context MiB"):
        assert heading in lines[0]
    for line, spec in zip(lines[1:], specs, strict=True):
        assert line.startswith(f"{spec.id} ")
        assert line.rstrip().endswith(spec.name)
        assert "…" not in line


def test_list_figures_of_one_card() -> None:
    line = next(line for line in run().splitlines() if line.startswith("t4 "))
    assert line.split() == [
        "t4", "14.56", "7.5", "320", "8.1", "65.0", "-", "198", "Tesla", "T4",
    ]  # fmt: skip


def test_list_as_json() -> None:
    document = json.loads(run("--json"))
    assert document["schema_version"] == 1
    by_id = {card["id"]: card for card in document["gpus"]}
    t4 = by_id["t4"]
    assert t4["usable_memory_bytes"] == int(14.56 * 1024) * MIB
    assert t4["context_overhead_bytes"] == 198 * MIB
    assert t4["peak_flops_per_s"]["fp32"] == 8.1e12
    assert t4["peak_flops_per_s"]["bf16"] is None
    assert t4["compute_capability"] == "7.5"
    assert t4["emulatable"] is True
    assert by_id["mi300x"]["emulatable"] is False
    assert by_id["mi300x"]["context_overhead_bytes"] is None


def test_json_keys_are_stable() -> None:
    """The contract may grow; a key that disappears breaks somebody's script."""
    card = json.loads(run("show", "a100", "--json"))
    assert list(card) == ["schema_version", "requested", "note", "gpu"]
    assert set(card["gpu"]) >= {
        "id", "name", "aliases", "assumed_for", "assumption", "vendor", "architecture",
        "emulatable", "compute_capability", "streaming_multiprocessors", "cuda_cores",
        "tensor_cores", "boost_clock_hz", "tensor_peak_clock_hz", "l2_bytes", "limits",
        "memory_type", "nominal_memory_bytes", "usable_memory_bytes", "usable_memory_max_bytes",
        "inline_ecc", "memory_bus_bits", "memory_clock_hz", "memory_bandwidth_bytes_per_s",
        "context_overhead_bytes", "context_overhead_kind", "peak_flops_per_s",
        "measured_matmul_flops_per_s", "measured_bandwidth_bytes_per_s", "pcie_generation",
        "pcie_lanes", "nvlink_bytes_per_s", "tdp_w", "power_limits_w", "prices",
        "sources", "confidence", "note",
    }  # fmt: skip
    assert set(card["gpu"]["limits"]) == {
        "threads_per_sm", "blocks_per_sm", "shared_memory_per_sm_bytes",
        "shared_memory_per_block_optin_bytes",
    }  # fmt: skip


@pytest.mark.parametrize("card", ["a100-sxm4-80gb", "rtx-3060-laptop", "mi250x", "gaudi3"])
def test_show_names_every_source(card: str) -> None:
    output = run("show", card)
    for group, source in load_gpus().find(card).spec.sources:
        assert f"\n{group} " in output
        assert source in output


def test_show_says_what_was_assumed() -> None:
    output = run("show", "a100")
    assert output.splitlines()[0] == "NVIDIA A100-SXM4-80GB"
    assert "assuming A100-SXM4-80GB; also: a100-sxm4-40gb" in output
    assert "79.15 to 79.33 GiB" in output
    assert "512 MiB (measured; observed 409 to 1096 MiB)" in output


def test_show_as_json() -> None:
    document = json.loads(run("show", "a100", "--json"))
    assert document["requested"] == "a100"
    assert document["note"].startswith("assuming A100-SXM4-80GB")
    assert document["gpu"]["id"] == "a100-sxm4-80gb"
    assert document == json.loads(run("--json", "show", "a100"))


def test_unknown_card_propagates_to_the_root() -> None:
    with pytest.raises(UnknownGpuError, match="rtx-4090"):
        run("show", "rtx4900")


@pytest.mark.parametrize("before", [True, False])
def test_own_folder_is_taken_on_either_side_of_show(tmp_path: Path, before: bool) -> None:
    shipped = Path(command.__file__).resolve().parents[2] / "hardware_db" / "gpus" / "t4.yaml"
    mine = shipped.read_text(encoding="utf-8").replace("id: t4", "id: my-t4")
    mine = mine.replace("Tesla T4", "My T4").replace("tesla-t4, nvidia-t4, g4dn", "mine")
    (tmp_path / "mine.yaml").write_text(mine, encoding="utf-8")
    option = ["--hardware-db", str(tmp_path)]
    arguments = [*option, "show", "mine"] if before else ["show", "mine", *option]
    assert run(*arguments).startswith("My T4\n")
    assert "my-t4" in run(*option)


def test_own_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        run("--hardware-db", str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("width", "last_heading"), [(200, "name"), (80, "context"), (60, "fp32"), (32, "usable")]
)
def test_narrow_terminals_lose_columns_never_letters(
    monkeypatch: pytest.MonkeyPatch, width: int, last_heading: str
) -> None:
    monkeypatch.setattr(tables, "report_console", lambda piped: Console(width=width))
    lines = run().splitlines()
    assert last_heading in f"{lines[0]} {lines[1]}"
    assert max(len(line) for line in lines) <= width
    for spec in load_gpus().all():
        assert any(line.startswith(f"{spec.id} ") for line in lines)
    assert ("name" in lines[1]) == (width == 200)
