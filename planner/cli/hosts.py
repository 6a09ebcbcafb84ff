"""`planner hosts`: the hosts of the hardware database and this machine, as a table or as JSON."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli import completion, tables
from planner.cli import options as shared
from planner.cli.cpus import cpu_lines
from planner.cli.tables import UNKNOWN, Column
from planner.hardware.database import load_cpus, load_hosts
from planner.hardware.host_specs import HostMatch, HostSpec
from planner.machine import this_host
from planner.units import GIB, format_bytes

_COLUMNS: tuple[Column[HostSpec], ...] = (
    ("host", lambda spec: spec.id),
    ("vCPUs", lambda spec: str(spec.vcpus)),
    ("cores", lambda spec: f"{spec.physical_cores:g}"),
    ("core\nspeed", lambda spec: f"{spec.cpu.core_speed:.2f}"),
    ("RAM\nGiB", lambda spec: f"{spec.ram_bytes / GIB:g}"),
    ("disk\nGB/s", lambda spec: _rate(spec.storage_bytes_per_s)),
    ("USD\nan hour", lambda spec: _per_hour(spec)),
    ("cards", lambda spec: _cards(spec)),
    ("cpu", lambda spec: spec.cpu.name),
    ("links", lambda spec: _links(spec)),
)


@click.group(invoke_without_command=True)
@shared.hardware_db
@shared.as_json
@click.pass_context
def hosts(context: click.Context, hardware_db: Path | None, as_json: bool) -> None:
    """List the known hosts; `planner hosts show this`: this machine."""
    if context.invoked_subcommand is not None:
        return
    tables.print_records("hosts", _COLUMNS, load_hosts(hardware_db).all(), as_json=as_json)


@hosts.command()
@click.argument("host", shell_complete=completion.hosts)
@shared.hardware_db
@shared.as_json
@click.pass_context
def show(context: click.Context, host: str, hardware_db: Path | None, as_json: bool) -> None:
    """Show one host, by id or alias; `this` measures the machine you are on for 2 seconds."""
    folder, as_json = tables.with_those_before(context, hardware_db, as_json)
    if host.strip().casefold() == this_host.NAME:
        match = HostMatch(spec=this_host.this_host(load_cpus(folder)), requested=host)
    else:
        match = load_hosts(folder).find(host)
    if as_json:
        tables.print_match("host", match)
        return
    spec = match.spec
    sections = {
        f"processor: {spec.cpu.name}": cpu_lines(spec.cpu),
        "sources": spec.sources,
    }
    tables.print_sheet(spec.name, match.note, _host_lines(spec), sections)


def _host_lines(spec: HostSpec) -> list[tuple[str, str]]:
    return [
        ("id", spec.id),
        ("other names", ", ".join(spec.aliases)),
        ("vCPUs", f"{spec.vcpus} hardware threads of {spec.physical_cores:g} cores"),
        ("RAM", format_bytes(spec.ram_bytes)),
        ("/dev/shm", UNKNOWN if spec.shm_bytes is None else format_bytes(spec.shm_bytes)),
        ("cards", _cards(spec)),
        ("between cards", spec.links.cards if spec.links else UNKNOWN),
        ("between hosts", _network(spec)),
        ("slot", tables.pcie(spec.pcie_generation, spec.pcie_lanes)),
        ("storage", _with_unit(spec.storage_bytes_per_s)),
        ("memory copy", _with_unit(spec.memory_copy_bytes_per_s)),
        ("price", tables.prices(spec.prices)),
        ("confidence", spec.confidence.value),
        ("remark", spec.note or ""),
    ]


def _cards(spec: HostSpec) -> str:
    return ", ".join(f"{count} x {card}" for card, count in spec.gpus) or UNKNOWN


def _links(spec: HostSpec) -> str:
    if spec.links is None:
        return UNKNOWN
    return " + ".join(filter(None, (spec.links.cards, spec.links.network)))


def _network(spec: HostSpec) -> str:
    if spec.links is None or spec.links.network is None:
        return UNKNOWN
    rate = _with_unit(spec.links.network_bytes_per_s)
    return f"{spec.links.network}, {rate} in one direction"


def _per_hour(spec: HostSpec) -> str:
    rents = [price.usd_per_hour for price in spec.prices if price.usd_per_hour is not None]
    return f"{min(rents):.2f}" if rents else UNKNOWN


def _rate(bytes_per_s: float | None) -> str:
    return UNKNOWN if bytes_per_s is None else f"{bytes_per_s / 1e9:.2f}"


def _with_unit(bytes_per_s: float | None) -> str:
    return UNKNOWN if bytes_per_s is None else f"{bytes_per_s / 1e9:.3g} GB/s"
