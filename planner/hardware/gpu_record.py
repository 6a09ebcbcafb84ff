"""Reads one GPU record of the hardware database: from YAML units to GpuSpec.

In: the mapping of one file (hardware_db/SCHEMA.md describes the keys). Out: GpuSpec.
Convention: in a record the unit is part of the key; inside the planner it is bytes, Hz, FLOP/s.
"""

from __future__ import annotations

from dataclasses import fields
from math import ceil

from planner.hardware.fields import Fields
from planner.hardware.record_parts import names_in, price_in, sources_in
from planner.hardware.specs import (
    ArithmeticRates,
    Confidence,
    ContextKind,
    ContextOverhead,
    GpuSpec,
    InlineEcc,
    Price,
    SmLimits,
    Vendor,
)
from planner.units import KIB, MIB

# Fitted to 30 public out-of-memory messages of single processes with lazy module loading,
# median error 20 MiB: the context reserves local memory for every thread that can be resident.
CONTEXT_BASE_MIB = 46.0
CONTEXT_MIB_PER_1000_THREADS = 2.174

# The entries of `sources`, in this order: one for every section with numbers that is present, and
# one more for the usable memory, because it is measured.
_SOURCED = (
    "chip",
    "limits",
    "memory",
    "usable_gib",
    "context_overhead",
    "peaks_tflops",
    "measured_matmul_tflops",
    "measured_bandwidth_gb_per_s",
    "board",
    "prices",
)
_FORMATS = tuple(field.name for field in fields(ArithmeticRates))
_MHZ, _GB, _TERA = 10**6, 10**9, 10**12


def modelled_context_mib(streaming_multiprocessors: int, threads_per_sm: int) -> int:
    """Returns the modelled context of a process in MiB, rounded up, for an unmeasured card."""
    threads = streaming_multiprocessors * threads_per_sm
    return ceil(CONTEXT_BASE_MIB + CONTEXT_MIB_PER_1000_THREADS * threads / 1000)


def read_gpu(value: object, file: str) -> GpuSpec:
    """Reads and checks a whole record.

    Raises:
        HardwareDatabaseError: a key is unknown, missing, of the wrong type or out of range.
    """
    record = Fields(value, file=file)
    names = names_in(record, file)
    vendor = record.word("vendor", Vendor)
    nvidia = vendor is Vendor.NVIDIA
    chip = record.section("chip")
    memory = record.section("memory")
    board = record.section("board")
    limits = _limits(record.section("limits") if nvidia else record.optional_section("limits"))
    sm_count = chip.whole("streaming_multiprocessors", 1, 2000)
    nominal_gib, least_gib, greatest_gib = _sizes_gib(memory)
    spec = GpuSpec(
        id=names.id,
        name=names.name,
        aliases=names.aliases,
        assumed_for=names.assumed_for,
        assumption=record.optional_text("assumption"),
        vendor=vendor,
        architecture=record.text("architecture", r"[a-z0-9-]+"),
        compute_capability=_capability(record, required=nvidia),
        streaming_multiprocessors=sm_count,
        cuda_cores=chip.optional_whole("cuda_cores", 1, 10**6),
        tensor_cores=chip.optional_whole("tensor_cores", 0, 10**5),
        boost_clock_hz=chip.whole("boost_clock_mhz", 100, 10_000) * _MHZ,
        tensor_peak_clock_hz=_scaled(chip.optional_whole("tensor_peak_clock_mhz", 100, 10**4)),
        l2_bytes=int(chip.number("l2_mib", 0.25, 4096) * MIB),
        limits=limits,
        memory_type=memory.text("type", r"[A-Z0-9a-z]+"),
        nominal_memory_bytes=int(nominal_gib * 1024) * MIB,
        usable_memory_bytes=int(least_gib * 1024) * MIB,
        usable_memory_max_bytes=int(greatest_gib * 1024) * MIB,
        inline_ecc=memory.word("inline_ecc", InlineEcc),
        memory_bus_bits=_whole(memory, "bus_bits", 32, 65_536, required=nvidia),
        memory_clock_hz=_scaled(_whole(memory, "clock_mhz", 100, 50_000, required=nvidia)),
        memory_bandwidth_bytes_per_s=memory.number("bandwidth_gb_per_s", 10, 100_000) * _GB,
        context=_context(record, sm_count, limits),
        peak_flops_per_s=_rates(record.section("peaks_tflops"), complete=True),
        measured_matmul_flops_per_s=_measured(record),
        measured_bandwidth_bytes_per_s=_measured_bandwidth(record),
        pcie_generation=board.optional_whole("pcie_generation", 1, 10),
        pcie_lanes=board.optional_whole("pcie_lanes", 1, 16),
        nvlink_bytes_per_s=board.number("nvlink_gb_per_s", 0, 100_000) * _GB,
        tdp_w=board.whole("tdp_w", 5, 5000),
        power_limits_w=_power_limits(board),
        prices=tuple(_price(entry) for entry in record.sections("prices")),
        sources=_sources(record),
        confidence=record.word("confidence", Confidence),
        note=record.optional_text("note"),
    )
    for part in (chip, memory, board, record):
        part.finish()
    return spec


def _sizes_gib(memory: Fields) -> tuple[float, float, float]:
    """Returns the nominal memory, and the least and the most of it that a process sees."""
    least_gib, greatest_gib = memory.interval("usable_gib", 0.5, 1024)
    nominal_gib = memory.number("nominal_gib", 0.5, 1024)
    if greatest_gib > nominal_gib:
        raise memory.fail("usable_gib", f"{greatest_gib:g} is above nominal_gib, {nominal_gib:g}")
    return nominal_gib, least_gib, greatest_gib


def _sources(record: Fields) -> tuple[tuple[str, str], ...]:
    """Reads the sources of the sections that are present, and of the usable memory."""
    return sources_in(record, [key for key in _SOURCED if key == "usable_gib" or record.has(key)])


def _capability(record: Fields, *, required: bool) -> tuple[int, int] | None:
    read = record.text if required else record.optional_text
    text = read("compute_capability", r"\d+\.\d")
    if text is None:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)


def _limits(section: Fields | None) -> SmLimits | None:
    if section is None:
        return None
    limits = SmLimits(
        threads_per_sm=section.whole("threads_per_sm", 32, 4096),
        blocks_per_sm=section.whole("blocks_per_sm", 1, 128),
        shared_memory_per_sm_bytes=section.whole("shared_memory_per_sm_kib", 16, 1024) * KIB,
        shared_memory_per_block_optin_bytes=(
            section.whole("shared_memory_per_block_optin_kib", 16, 1024) * KIB
        ),
    )
    section.finish()
    return limits


def _context(record: Fields, sm_count: int, limits: SmLimits | None) -> ContextOverhead | None:
    section = record.optional_section("context_overhead")
    if section is None:
        if limits is None:
            return None
        modelled = modelled_context_mib(sm_count, limits.threads_per_sm)
        return ContextOverhead(overhead_bytes=modelled * MIB, kind=ContextKind.MODEL)
    observed = None
    if section.has("observed_mib"):
        least, greatest = section.interval("observed_mib", 1, 8192)
        observed = (int(least) * MIB, int(greatest) * MIB)
    context = ContextOverhead(
        overhead_bytes=section.whole("mib", 1, 8192) * MIB,
        kind=section.word("kind", ContextKind),
        observed_bytes=observed,
    )
    section.finish()
    return context


def _rates(section: Fields, *, complete: bool) -> ArithmeticRates:
    """Reads FLOP/s by format from TFLOP/s.

    `complete`: every format must be written, as null if the card lacks it. `keys()` shows whether
    a key was left out or is null.
    """
    if complete:
        for name in _FORMATS:
            if name not in section.keys():  # noqa: SIM118 not a dict
                raise section.fail(name, "is missing; write null where the card has no such format")
    rates = {name: section.optional_number(name, 0.01, 100_000) for name in _FORMATS}
    section.finish()
    return ArithmeticRates(
        **{name: None if rate is None else rate * _TERA for name, rate in rates.items()}
    )


def _measured(record: Fields) -> ArithmeticRates | None:
    section = record.optional_section("measured_matmul_tflops")
    return None if section is None else _rates(section, complete=False)


def _measured_bandwidth(record: Fields) -> float | None:
    found = record.optional_number("measured_bandwidth_gb_per_s", 1, 100_000)
    return None if found is None else found * _GB


def _power_limits(board: Fields) -> tuple[int, int] | None:
    if not board.has("power_limits_w"):
        return None
    least, greatest = board.interval("power_limits_w", 1, 5000)
    return int(least), int(greatest)


def _price(entry: Fields) -> Price:
    return price_in(
        entry, rent="usd_per_hour", purchase="usd_to_buy", most_rent=1000, most_purchase=10**6
    )


def _whole(section: Fields, key: str, low: int, high: int, *, required: bool) -> int | None:
    return section.whole(key, low, high) if required else section.optional_whole(key, low, high)


def _scaled(mhz: int | None) -> int | None:
    return None if mhz is None else mhz * _MHZ
