"""`planner cpus`: the processors of the hardware database, as a table or as JSON on stdout."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli import completion, tables
from planner.cli import options as shared
from planner.cli.tables import UNKNOWN, Column
from planner.hardware.cpu_specs import CpuSpec
from planner.hardware.database import load_cpus
from planner.units import MIB

_COLUMNS: tuple[Column[CpuSpec], ...] = (
    ("processor", lambda spec: spec.id),
    ("cores", lambda spec: str(spec.cores)),
    ("threads", lambda spec: str(spec.threads)),
    ("boost\nGHz", lambda spec: gigahertz(spec.boost_clock_hz)),
    ("core\nspeed", lambda spec: f"{spec.core_speed:.2f}"),
    ("JPEG/s", lambda spec: _rate(spec.jpeg_decode_items_per_s)),
    ("L3\nMiB", lambda spec: _mebibytes(spec.l3_bytes)),
    ("GB/s", lambda spec: _bandwidth(spec.memory_bandwidth_bytes_per_s)),
    ("name", lambda spec: spec.name),
)


@click.group(invoke_without_command=True)
@shared.hardware_db
@shared.as_json
@click.pass_context
def cpus(context: click.Context, hardware_db: Path | None, as_json: bool) -> None:
    """List the known processors; `planner cpus show CPU` shows one."""
    if context.invoked_subcommand is not None:
        return
    tables.print_records("cpus", _COLUMNS, load_cpus(hardware_db).all(), as_json=as_json)


@cpus.command()
@click.argument("cpu", shell_complete=completion.cpus)
@shared.hardware_db
@shared.as_json
@click.pass_context
def show(context: click.Context, cpu: str, hardware_db: Path | None, as_json: bool) -> None:
    """Show one processor, by id, alias or model name, and where each figure comes from."""
    folder, as_json = tables.with_those_before(context, hardware_db, as_json)
    match = load_cpus(folder).find(cpu)
    if as_json:
        tables.print_match("cpu", match)
        return
    lines = [
        ("id", match.spec.id),
        ("other names", ", ".join(match.spec.aliases)),
        *cpu_lines(match.spec),
        ("confidence", match.spec.confidence.value),
        ("remark", match.spec.note or ""),
    ]
    tables.print_sheet(match.spec.name, match.note, lines, {"sources": match.spec.sources})


def cpu_lines(spec: CpuSpec) -> list[tuple[str, str]]:
    """Returns label and value of each figure of a processor; `planner hosts` uses it too."""
    return [
        ("vendor, architecture", f"{spec.vendor.value}, {spec.architecture}"),
        ("cores", _cores(spec)),
        ("clock", f"{gigahertz(spec.base_clock_hz)} to {gigahertz(spec.boost_clock_hz)} GHz"),
        ("core speed", f"{spec.core_speed:.2f}; {spec.core_speed_basis}"),
        ("L2, L3 cache", f"{_mebibytes(spec.l2_bytes)}, {_mebibytes(spec.l3_bytes)} MiB"),
        ("memory", _memory(spec)),
        ("PCIe", tables.pcie(spec.pcie_generation, spec.pcie_lanes)),
        ("power", UNKNOWN if spec.tdp_w is None else f"{spec.tdp_w} W"),
    ]


def gigahertz(clock_hz: int | None) -> str:
    """Returns a clock in GHz."""
    return UNKNOWN if clock_hz is None else f"{clock_hz / 1e9:.2f}"


def _cores(spec: CpuSpec) -> str:
    kinds = (
        f" ({spec.performance_cores} performance, {spec.efficiency_cores} efficiency)"
        if spec.efficiency_cores
        else ""
    )
    return f"{spec.cores}{kinds}, {spec.threads} threads"


def _memory(spec: CpuSpec) -> str:
    if spec.memory_bandwidth_bytes_per_s is None:
        return UNKNOWN
    text = f"{spec.memory_bandwidth_bytes_per_s / 1e9:g} GB/s"
    return text if spec.memory_channels is None else f"{text}, {spec.memory_channels} channels"


def _rate(items_per_s: float | None) -> str:
    return UNKNOWN if items_per_s is None else f"{items_per_s:.0f}"


def _mebibytes(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else f"{size_bytes / MIB:g}"


def _bandwidth(bytes_per_s: float | None) -> str:
    return UNKNOWN if bytes_per_s is None else f"{bytes_per_s / 1e9:.0f}"
