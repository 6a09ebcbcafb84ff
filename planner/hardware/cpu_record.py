"""Reads one processor record of the hardware database: from YAML units to CpuSpec.

In: the mapping of one file (hardware_db/SCHEMA.md describes the keys). Out: CpuSpec.
Convention: in a record the unit is part of the key; inside the planner it is bytes and Hz.
"""

from __future__ import annotations

from planner.hardware.cpu_specs import CpuSpec, CpuVendor
from planner.hardware.fields import Fields
from planner.hardware.record_parts import names_in, sources_in
from planner.hardware.specs import Confidence
from planner.units import MIB

# Each of these keys that is present needs an entry in `sources`.
_SOURCED = ("cores", "clock", "cache", "memory", "board", "decode")
_MHZ, _GB = 10**6, 10**9


def read_cpu(value: object, file: str) -> CpuSpec:
    """Reads and checks a whole record.

    Raises:
        HardwareDatabaseError: a key is unknown, missing, of the wrong type or out of range, or
            figures contradict one another.
    """
    record = Fields(value, file=file)
    names = names_in(record, file)
    cores, clock = record.section("cores"), record.section("clock")
    cache, memory, board = (record.section(key) for key in ("cache", "memory", "board"))
    performance, efficiency, threads = _cores(cores)
    base_mhz, boost_mhz = _clock(clock)
    bandwidth = memory.optional_number("bandwidth_gb_per_s", 1, 10_000)
    spec = CpuSpec(
        id=names.id,
        name=names.name,
        aliases=names.aliases,
        vendor=record.word("vendor", CpuVendor),
        architecture=record.text("architecture", r"[a-z0-9-]+"),
        performance_cores=performance,
        efficiency_cores=efficiency,
        threads=threads,
        base_clock_hz=None if base_mhz is None else base_mhz * _MHZ,
        boost_clock_hz=boost_mhz * _MHZ,
        l2_bytes=_mebibytes(cache, "l2_mib"),
        l3_bytes=_mebibytes(cache, "l3_mib"),
        memory_channels=memory.optional_whole("channels", 1, 64),
        memory_transfers_per_s=_scaled(memory.optional_whole("rate_mt_per_s", 500, 20_000)),
        memory_bandwidth_bytes_per_s=None if bandwidth is None else bandwidth * _GB,
        pcie_generation=board.optional_whole("pcie_generation", 1, 10),
        pcie_lanes=board.optional_whole("pcie_lanes", 1, 256),
        tdp_w=board.optional_whole("tdp_w", 3, 2000),
        jpeg_decode_items_per_s=_decode(record),
        sources=sources_in(record, [key for key in _SOURCED if record.has(key)]),
        confidence=record.word("confidence", Confidence),
        note=record.optional_text("note"),
    )
    for part in (cores, clock, cache, memory, board, record):
        part.finish()
    return spec


def _cores(section: Fields) -> tuple[int, int, int]:
    performance = section.whole("performance", 1, 1024)
    efficiency = section.whole("efficiency", 0, 1024)
    threads = section.whole("threads", 1, 4096)
    cores = performance + efficiency
    if not cores <= threads <= 2 * cores:
        raise section.fail(
            "threads", f"{threads} is not from 1 to 2 for each of {cores} cores; is it of a socket?"
        )
    return performance, efficiency, threads


def _clock(section: Fields) -> tuple[int | None, int]:
    base = section.optional_whole("base_mhz", 100, 10_000)
    boost = section.whole("boost_mhz", 100, 10_000)
    if base is not None and base > boost:
        raise section.fail("base_mhz", f"{base} is above boost_mhz, {boost}")
    return base, boost


def _decode(record: Fields) -> float | None:
    section = record.optional_section("decode")
    if section is None:
        return None
    rate = section.number("pillow_items_per_s", 10, 10_000)
    section.finish()
    return rate


def _mebibytes(section: Fields, key: str) -> int | None:
    size_mib = section.optional_number(key, 0.125, 8192)
    return None if size_mib is None else int(size_mib * MIB)


def _scaled(millions: int | None) -> int | None:
    return None if millions is None else millions * 10**6
