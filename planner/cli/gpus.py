"""`planner gpus`: the cards of the hardware database, as a table or as JSON on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from planner.cli import options as shared
from planner.hardware.database import load_gpus
from planner.hardware.specs import ArithmeticRates, GpuMatch, GpuSpec, format_capability
from planner.results import SCHEMA_VERSION
from planner.units import GIB, MIB

_PIPED_WIDTH = 400  # wide enough that no line of a piped table is folded or cut
_UNKNOWN = "-"


Column = tuple[str, Callable[[GpuSpec], str]]


@click.group(invoke_without_command=True)
@shared.hardware_db
@shared.as_json
@click.pass_context
def gpus(context: click.Context, hardware_db: Path | None, as_json: bool) -> None:
    """List the known cards; `planner gpus show CARD` shows one of them with its sources."""
    if context.invoked_subcommand is not None:
        return
    specs = load_gpus(hardware_db).all()
    if as_json:
        _print_json({"gpus": [spec.to_dict() for spec in specs]})
        return
    console = _console()
    console.print(_list_table(specs, console.width))


@gpus.command()
@click.argument("card")
@shared.hardware_db
@shared.as_json
@click.pass_context
def show(context: click.Context, card: str, hardware_db: Path | None, as_json: bool) -> None:
    """Show one card, by id, alias or device name, and where each figure comes from."""
    given_before = context.parent.params if context.parent else {}
    match = load_gpus(hardware_db or given_before.get("hardware_db")).find(card)
    if as_json or given_before.get("as_json"):
        _print_json({"requested": match.requested, "note": match.note, "gpu": match.spec.to_dict()})
        return
    console = _console()
    _print_card(console, match)


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2))


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def _list_table(specs: Sequence[GpuSpec], width: int) -> Table:
    """One line a card; what does not fit a narrow terminal is left out from the right."""
    columns: list[Column] = [
        ("card", lambda spec: spec.id),
        ("usable\nGiB", lambda spec: f"{spec.usable_memory_bytes / GIB:.2f}"),
        ("cc", lambda spec: format_capability(spec.compute_capability) or _UNKNOWN),
        ("GB/s", lambda spec: f"{spec.memory_bandwidth_bytes_per_s / 1e9:.0f}"),
        ("fp32\nTFLOP/s", lambda spec: _tera(spec.peak_flops_per_s.fp32)),
        ("fp16\nTFLOP/s", lambda spec: _tera(spec.peak_flops_per_s.fp16)),
        ("bf16\nTFLOP/s", lambda spec: _tera(spec.peak_flops_per_s.bf16)),
        ("context\nMiB", _context_mib),
        ("name", lambda spec: spec.name),
    ]
    if width >= _PIPED_WIDTH:
        columns = [(title.replace("\n", " "), cell) for title, cell in columns]
    rows = [[cell(spec) for _, cell in columns] for spec in specs]
    while len(columns) > 2 and _needed_width(columns, rows) > width:
        columns.pop()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, _ in columns:
        text = title in ("card", "name")
        table.add_column(title, justify="left" if text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row[: len(columns)])
    return table


def _needed_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    widths = [
        max(len(text) for text in (*title.split("\n"), *(row[position] for row in rows)))
        for position, (title, _) in enumerate(columns)
    ]
    return sum(widths) + 2 * (len(widths) - 1)


def _print_card(console: Console, match: GpuMatch) -> None:
    spec = match.spec
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in _card_lines(spec):
        table.add_row(label, value)
    console.print(spec.name, style="bold", markup=False)
    if match.note:
        console.print(f"note: {match.note}", markup=False)
    console.print(table)
    console.print("\nsources", style="bold")
    sources = Table(box=None, pad_edge=False, show_header=False)
    sources.add_column(no_wrap=True)
    sources.add_column(overflow="fold")
    for group, source in spec.sources:
        sources.add_row(group, source)
    console.print(sources)


def _card_lines(spec: GpuSpec) -> list[tuple[str, str]]:
    lines = [
        ("id", spec.id),
        ("other names", ", ".join([*spec.aliases, *(short for short, _ in spec.assumed_for)])),
        ("vendor, architecture", f"{spec.vendor.value}, {spec.architecture}"),
        ("compute capability", format_capability(spec.compute_capability) or _UNKNOWN),
        ("can be emulated", "yes" if spec.emulatable else "no"),
        ("usable memory", _usable(spec)),
        ("memory", f"{spec.nominal_memory_bytes / GIB:g} GiB nominal, {spec.memory_type}"),
        ("inline ECC", spec.inline_ecc.value),
        ("bandwidth", f"{spec.memory_bandwidth_bytes_per_s / 1e9:g} GB/s"),
        ("context overhead", _context(spec)),
        ("multiprocessors", str(spec.streaming_multiprocessors)),
        ("L2 cache", f"{spec.l2_bytes / MIB:g} MiB"),
        ("boost clock", f"{spec.boost_clock_hz / 1e6:g} MHz"),
        ("dense peaks, TFLOP/s", _rates(spec.peak_flops_per_s)),
        ("measured matmul, TFLOP/s", _rates(spec.measured_matmul_flops_per_s)),
        ("PCIe", _pcie(spec)),
        ("NVLink or the like", f"{spec.nvlink_bytes_per_s / 1e9:g} GB/s both ways together"),
        ("board power", f"{spec.tdp_w} W"),
        ("price", "; ".join(_prices(spec))),
        ("confidence", spec.confidence.value),
        ("remark", spec.note or ""),
    ]
    return [(label, value or _UNKNOWN) for label, value in lines]


def _usable(spec: GpuSpec) -> str:
    least, greatest = spec.usable_memory_bytes / GIB, spec.usable_memory_max_bytes / GIB
    return (
        f"{least:.2f} to {greatest:.2f} GiB as torch reports total_memory; planned with the least"
    )


def _context_mib(spec: GpuSpec) -> str:
    return f"{spec.context.overhead_bytes // MIB}" if spec.context else _UNKNOWN


def _context(spec: GpuSpec) -> str:
    if spec.context is None:
        return _UNKNOWN
    text = f"{spec.context.overhead_bytes // MIB} MiB ({spec.context.kind.value}"
    if spec.context.observed_bytes is not None:
        least, greatest = (size // MIB for size in spec.context.observed_bytes)
        text += f"; observed {least} to {greatest} MiB"
    return f"{text})"


def _tera(rate: float | None) -> str:
    if rate is None:
        return _UNKNOWN
    return f"{rate / 1e12:.0f}" if rate >= 1e14 else f"{rate / 1e12:.1f}"


def _rates(rates: ArithmeticRates | None) -> str:
    if rates is None:
        return _UNKNOWN
    return ", ".join(
        f"{name} {rate / 1e12:g}" for name, rate in rates.to_dict().items() if rate is not None
    )


def _pcie(spec: GpuSpec) -> str:
    if spec.pcie_generation is None:
        return _UNKNOWN
    return f"generation {spec.pcie_generation} x{spec.pcie_lanes}"


def _prices(spec: GpuSpec) -> list[str]:
    return [
        f"{price.usd_per_hour:g} USD an hour ({price.provider}, {price.date})"
        if price.usd_per_hour is not None
        else f"{price.usd_to_buy:g} USD ({price.provider}, {price.date})"
        for price in spec.prices
    ]
