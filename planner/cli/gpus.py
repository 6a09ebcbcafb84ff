"""`planner gpus`: the cards of the hardware database, as a table or as JSON on stdout."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli import completion, tables
from planner.cli import options as shared
from planner.cli.tables import UNKNOWN, Column
from planner.errors import UnknownLinkError
from planner.hardware.database import LinkDatabase, load_gpus, load_links
from planner.hardware.specs import ArithmeticRates, GpuSpec, format_capability
from planner.units import GIB, MIB, format_percent

_COLUMNS: tuple[Column[GpuSpec], ...] = (
    ("card", lambda spec: spec.id),
    ("usable\nGiB", lambda spec: f"{spec.usable_memory_bytes / GIB:.2f}"),
    ("cc", lambda spec: format_capability(spec.compute_capability) or UNKNOWN),
    ("GB/s", lambda spec: f"{spec.memory_bandwidth_bytes_per_s / 1e9:.0f}"),
    ("fp32\nTFLOP/s", lambda spec: _tera(spec.peak_flops_per_s.fp32)),
    ("fp16\nTFLOP/s", lambda spec: _tera(spec.peak_flops_per_s.fp16)),
    ("bf16\nTFLOP/s", lambda spec: _tera(spec.peak_flops_per_s.bf16)),
    ("context\nMiB", lambda spec: _context_mib(spec)),
    ("name", lambda spec: spec.name),
)


@click.group(invoke_without_command=True)
@shared.hardware_db
@shared.as_json
@click.pass_context
def gpus(context: click.Context, hardware_db: Path | None, as_json: bool) -> None:
    """List the known cards; `planner gpus show CARD` shows one."""
    if context.invoked_subcommand is not None:
        return
    tables.print_records("gpus", _COLUMNS, load_gpus(hardware_db).all(), as_json=as_json)


@gpus.command()
@click.argument("card", shell_complete=completion.cards())
@shared.hardware_db
@shared.as_json
@click.pass_context
def show(context: click.Context, card: str, hardware_db: Path | None, as_json: bool) -> None:
    """Show one card, by id, alias or device name, and where each figure comes from."""
    folder, as_json = tables.with_those_before(context, hardware_db, as_json)
    match = load_gpus(folder).find(card)
    if as_json:
        tables.print_match("gpu", match)
        return
    tables.print_sheet(
        match.spec.name,
        match.note,
        _card_lines(match.spec, load_links(folder)),
        {"sources": match.spec.sources},
    )


def _card_lines(spec: GpuSpec, links: LinkDatabase) -> list[tuple[str, str]]:
    return [
        ("id", spec.id),
        ("other names", ", ".join(spec.other_names)),
        ("vendor, architecture", f"{spec.vendor.value}, {spec.architecture}"),
        ("compute capability", format_capability(spec.compute_capability) or UNKNOWN),
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
        ("measured bandwidth", _measured_bandwidth(spec)),
        ("PCIe", tables.pcie(spec.pcie_generation, spec.pcie_lanes)),
        ("NVLink or the like", f"{spec.nvlink_bytes_per_s / 1e9:g} GB/s both ways together"),
        ("between cards of a host", _between_cards(spec, links)),
        ("board power", _power(spec)),
        ("price", tables.prices(spec.prices)),
        ("confidence", spec.confidence.value),
        ("remark", spec.note or ""),
    ]


def _between_cards(spec: GpuSpec, links: LinkDatabase) -> str:
    try:
        link = links.of_card(spec).spec
    except UnknownLinkError:
        return UNKNOWN
    return f"{link.id} unless a host says otherwise: {link.wire_bytes_per_s / 1e9:g} GB/s one way"


def _measured_bandwidth(spec: GpuSpec) -> str:
    found = spec.measured_bandwidth_bytes_per_s
    if found is None:
        return UNKNOWN
    share = format_percent(found / spec.memory_bandwidth_bytes_per_s, 1)
    return f"{found / 1e9:g} GB/s, {share} of the bandwidth"


def _power(spec: GpuSpec) -> str:
    if spec.power_limits_w is None:
        return f"{spec.tdp_w} W"
    least, greatest = spec.power_limits_w
    return f"{spec.tdp_w} W; the driver takes limits from {least} to {greatest} W"


def _usable(spec: GpuSpec) -> str:
    least, greatest = spec.usable_memory_bytes / GIB, spec.usable_memory_max_bytes / GIB
    return (
        f"{least:.2f} to {greatest:.2f} GiB as torch reports total_memory; planned with the least"
    )


def _context_mib(spec: GpuSpec) -> str:
    return f"{spec.context.overhead_bytes // MIB}" if spec.context else UNKNOWN


def _context(spec: GpuSpec) -> str:
    if spec.context is None:
        return UNKNOWN
    text = f"{spec.context.overhead_bytes // MIB} MiB ({spec.context.kind.value}"
    if spec.context.observed_bytes is not None:
        least, greatest = (size // MIB for size in spec.context.observed_bytes)
        text += f"; observed {least} to {greatest} MiB"
    return f"{text})"


def _tera(rate: float | None) -> str:
    if rate is None:
        return UNKNOWN
    return f"{rate / 1e12:.0f}" if rate >= 1e14 else f"{rate / 1e12:.1f}"


def _rates(rates: ArithmeticRates | None) -> str:
    if rates is None:
        return UNKNOWN
    return ", ".join(
        f"{name} {rate / 1e12:g}" for name, rate in rates.to_dict().items() if rate is not None
    )
