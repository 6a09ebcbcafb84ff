"""Reads one host record of the hardware database: from YAML units to HostSpec.

In: the mapping of one file (hardware_db/SCHEMA.md describes the keys), the processors, the ids of
the cards and the links that it may name. Out: HostSpec.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

from planner.hardware.cpu_specs import CpuSpec
from planner.hardware.fields import Fields
from planner.hardware.host_specs import HostSpec
from planner.hardware.link_specs import HostLinks, LinkSpec
from planner.hardware.record_parts import names_in, price_in, sources_in
from planner.hardware.specs import Confidence, Price
from planner.units import GIB

# Each of these sections that is present needs an entry in `sources`.
_SOURCED = ("processor", "memory", "slot", "links", "storage", "prices")
_GB = 10**9


class Currency(str, Enum):
    """The currency of a price; all figures of the planner are in this one."""

    USD = "USD"


def read_host(
    value: object,
    file: str,
    *,
    cpu_of: Callable[[str], CpuSpec | None],
    gpu_ids: Collection[str],
    link_of: Callable[[str], LinkSpec | None],
) -> HostSpec:
    """Reads and checks a whole record.

    Raises:
        HardwareDatabaseError: a key is unknown, missing, of the wrong type or out of range, a
            processor, card or link is not in the database, or figures contradict one another.
    """
    record = Fields(value, file=file)
    names = names_in(record, file)
    cpu = _cpu(record, cpu_of)
    gpus = _gpus(record, gpu_ids)
    processor, memory = record.section("processor"), record.section("memory")
    vcpus, physical_cores = _processor(processor)
    ram_gib = memory.number("ram_gib", 0.25, 65_536)
    shm_gib = memory.optional_number("shm_gib", 0.001, 65_536)
    if shm_gib is not None and shm_gib > ram_gib:
        raise memory.fail("shm_gib", f"{shm_gib:g} is above ram_gib, {ram_gib:g}")
    generation, lanes = _slot(record)
    spec = HostSpec(
        id=names.id,
        name=names.name,
        aliases=names.aliases,
        cpu=cpu,
        vcpus=vcpus,
        physical_cores=physical_cores,
        ram_bytes=int(ram_gib * GIB),
        shm_bytes=None if shm_gib is None else int(shm_gib * GIB),
        gpus=gpus,
        pcie_generation=generation,
        pcie_lanes=lanes,
        links=_links(record, link_of),
        storage_bytes_per_s=_storage(record),
        prices=tuple(_price(entry) for entry in record.sections("prices")),
        sources=sources_in(record, [key for key in _SOURCED if record.has(key)]),
        confidence=record.word("confidence", Confidence),
        note=record.optional_text("note"),
    )
    for part in (processor, memory, record):
        part.finish()
    return spec


def _cpu(record: Fields, cpu_of: Callable[[str], CpuSpec | None]) -> CpuSpec:
    cpu_id = record.text("cpu")
    cpu = cpu_of(cpu_id)
    if cpu is None:
        raise record.fail(
            "cpu", f"{cpu_id!r} is not the id of a processor; run `planner cpus` to list them"
        )
    return cpu


def _gpus(record: Fields, known: Collection[str]) -> tuple[tuple[str, int], ...]:
    section = record.section("gpus")
    gpus = []
    for card in section.keys():  # noqa: SIM118 not a dict
        if card not in known:
            near = _near(card, known)
            raise section.fail(card, f"is not the id of a card{near}; run `planner gpus`")
        gpus.append((card, section.whole(card, 1, 128)))
    return tuple(gpus)


def _near(card: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # only needed for an error

    near = get_close_matches(card, known, n=3)
    return f"; near ids: {', '.join(near)}" if near else ""


def _processor(section: Fields) -> tuple[int, float]:
    vcpus = section.whole("vcpus", 1, 4096)
    physical = section.number("physical_cores", 0.05, 4096)
    if physical > vcpus:
        raise section.fail("physical_cores", f"{physical:g} is above vcpus, {vcpus}")
    return vcpus, physical


def _slot(record: Fields) -> tuple[int | None, int | None]:
    section = record.optional_section("slot")
    if section is None:
        return None, None
    generation = section.whole("pcie_generation", 1, 10)
    lanes = section.optional_whole("pcie_lanes", 1, 16)
    section.finish()
    return generation, lanes


def _links(record: Fields, link_of: Callable[[str], LinkSpec | None]) -> HostLinks | None:
    section = record.optional_section("links")
    if section is None:
        return None
    network, rate = None, None
    if section.has("network"):
        network = _link(section, "network", link_of, between_hosts=True)
        rate = section.number("network_gb_per_s", 0.1, 100_000) * _GB
    links = HostLinks(
        cards=_link(section, "cards", link_of, between_hosts=False),
        network=network,
        network_bytes_per_s=rate,
    )
    section.finish()
    return links


def _link(
    section: Fields, key: str, link_of: Callable[[str], LinkSpec | None], *, between_hosts: bool
) -> str:
    link_id = section.text(key)
    link = link_of(link_id)
    if link is None:
        raise section.fail(key, f"{link_id!r} is not the id of a link; see links/ of the database")
    if link.kind.between_hosts is not between_hosts:
        joins = "hosts" if link.kind.between_hosts else "the cards of one host"
        raise section.fail(key, f"{link_id} joins {joins}")
    return link_id


def _storage(record: Fields) -> float | None:
    section = record.optional_section("storage")
    if section is None:
        return None
    rate = section.number("read_gb_per_s", 0.001, 1000)
    section.finish()
    return rate * _GB


def _price(entry: Fields) -> Price:
    entry.word("currency", Currency)
    return price_in(
        entry, rent="per_hour", purchase="to_buy", most_rent=10_000, most_purchase=10**7
    )
