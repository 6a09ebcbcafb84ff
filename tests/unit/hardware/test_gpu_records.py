"""The shipped records: each is read in full, and its figures agree with one another."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.hardware.database import load_gpus
from planner.hardware.gpu_record import modelled_context_mib
from planner.hardware.specs import ContextKind, GpuSpec, InlineEcc, Vendor
from planner.units import GIB, KIB, MIB

HARDWARE_DB = Path(__file__).resolve().parents[3] / "hardware_db"
FILES = sorted((HARDWARE_DB / "gpus").glob("*.yaml"))


@cache
def _raw(path: Path) -> dict[str, Any]:
    """A record as the file has it; nothing is written to it."""
    record: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return record


SPECS = load_gpus().all()
NVIDIA = [spec for spec in SPECS if spec.vendor is Vendor.NVIDIA]

# NVIDIA CUDA C++ Programming Guide, Technical Specifications per Compute Capability:
# threads per SM, blocks per SM, shared memory per SM and per block (KiB).
LIMITS = {
    (6, 0): (2048, 32, 64, 48),
    (6, 1): (2048, 32, 96, 48),
    (7, 0): (2048, 32, 96, 96),
    (7, 5): (1024, 16, 64, 64),
    (8, 0): (2048, 32, 164, 163),
    (8, 6): (1536, 16, 100, 99),
    (8, 9): (1536, 24, 100, 99),
    (9, 0): (2048, 32, 228, 227),
    (10, 0): (2048, 32, 228, 227),
    (12, 0): (1536, 24, 100, 99),
}
CORES_PER_SM = dict.fromkeys(LIMITS, 128) | dict.fromkeys([(6, 0), (7, 0), (7, 5), (8, 0)], 64)
FP64_SHARE = {
    **dict.fromkeys([(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)], 1 / 2),
    **dict.fromkeys([(6, 1), (7, 5)], 1 / 32),
    **dict.fromkeys([(8, 6), (8, 9), (12, 0)], 1 / 64),
}
# FLOP per clock and SM of the tensor cores, FP32 accumulation: GeForce has half the rate of
# workstation cards with the same chip.
FULL_RATE = {(7, 0): 1024, (7, 5): 1024, (8, 0): 2048, (8, 6): 1024, (8, 9): 1024, (9, 0): 4096,
             (10, 0): 8192, (12, 0): 1024}  # fmt: skip
HALF_RATE = {"a10g", "l20", "l40"}
# Export version: its tensor rate is cut, and its published fp32 peak fits no known clock.
OWN_RULES = {"h20"}


def ids(specs: list[GpuSpec]) -> list[str]:
    return [spec.id for spec in specs]


def test_every_file_is_loaded_under_its_own_name() -> None:
    assert sorted(spec.id for spec in SPECS) == sorted(path.stem for path in FILES)
    assert len(FILES) >= 39


def test_names_come_before_vendor_in_every_file() -> None:
    for path in FILES:
        opening = path.read_text(encoding="utf-8").split("\nvendor:")[0]
        record = _raw(path)
        for key in ("id", "name", "aliases", "assumed_for"):
            assert (key in record) == bool(re.search(rf"^{key}:", opening, re.MULTILINE)), path.name


def test_assumed_names_point_to_cards_that_exist() -> None:
    known = {spec.id for spec in SPECS}
    for spec in SPECS:
        for short, others in spec.assumed_for:
            assert others, f"{spec.id}: {short}"
            assert set(others) <= known - {spec.id}, f"{spec.id}: {short}"


@pytest.mark.parametrize("spec", SPECS, ids=ids(list(SPECS)))
def test_usable_memory_lies_below_nominal(spec: GpuSpec) -> None:
    assert 0.9 * spec.nominal_memory_bytes <= spec.usable_memory_bytes
    assert spec.usable_memory_bytes <= spec.usable_memory_max_bytes <= spec.nominal_memory_bytes
    if spec.inline_ecc is InlineEcc.ENABLED:  # it takes one sixteenth
        assert spec.usable_memory_max_bytes <= spec.nominal_memory_bytes * 15 / 16


@pytest.mark.parametrize("spec", SPECS, ids=ids(list(SPECS)))
def test_every_section_has_a_source(spec: GpuSpec) -> None:
    record = _raw(HARDWARE_DB / "gpus" / f"{spec.id}.yaml")
    sections = {key for key, value in record.items() if isinstance(value, (dict, list))}
    sections -= {"aliases", "assumed_for", "sources"}
    sources = dict(spec.sources)
    sections |= {"measured_bandwidth_gb_per_s"} & set(record)
    assert set(sources) == sections | {"usable_gib"}
    for key, text in sources.items():
        seen = {key}
        while (reference := re.match(r"as (chip|memory)\b", text)) is not None:
            assert reference.group(1) not in seen
            seen.add(reference.group(1))
            text = sources[reference.group(1)]
        assert len(text) > 15, f"{spec.id}: {key}"


@pytest.mark.parametrize("spec", SPECS, ids=ids(list(SPECS)))
def test_bandwidth_is_bus_times_rate(spec: GpuSpec) -> None:
    if spec.memory_bus_bits is None or spec.memory_clock_hz is None:
        assert spec.vendor is not Vendor.NVIDIA
        return
    computed = 2 * spec.memory_clock_hz * spec.memory_bus_bits / 8
    assert spec.memory_bandwidth_bytes_per_s == pytest.approx(computed, rel=0.03)


@pytest.mark.parametrize("spec", NVIDIA, ids=ids(NVIDIA))
def test_limits_are_those_of_the_compute_capability(spec: GpuSpec) -> None:
    assert spec.compute_capability is not None
    assert spec.limits is not None
    assert (
        spec.limits.threads_per_sm,
        spec.limits.blocks_per_sm,
        spec.limits.shared_memory_per_sm_bytes // KIB,
        spec.limits.shared_memory_per_block_optin_bytes // KIB,
    ) == LIMITS[spec.compute_capability]


@pytest.mark.parametrize("spec", NVIDIA, ids=ids(NVIDIA))
def test_cores_follow_from_multiprocessors(spec: GpuSpec) -> None:
    assert spec.compute_capability is not None
    assert spec.tensor_cores is not None
    assert spec.cuda_cores == (
        spec.streaming_multiprocessors * CORES_PER_SM[spec.compute_capability]
    )
    major = spec.compute_capability[0]
    per_sm = 0 if major == 6 or "GTX" in spec.name else 8 if major == 7 else 4
    assert spec.tensor_cores == spec.streaming_multiprocessors * per_sm


@pytest.mark.parametrize("spec", NVIDIA, ids=ids(NVIDIA))
def test_fp32_peak_is_two_operations_per_core_and_clock(spec: GpuSpec) -> None:
    peaks = spec.peak_flops_per_s
    assert spec.compute_capability is not None
    assert spec.cuda_cores is not None
    assert peaks.fp32 is not None
    assert peaks.fp64 is not None
    if spec.id in OWN_RULES:
        return
    assert peaks.fp32 == pytest.approx(2 * spec.cuda_cores * spec.boost_clock_hz, rel=0.03)
    share = FP64_SHARE[spec.compute_capability]
    rounding = 0.005 * 1e12  # small figures are published with two decimals
    assert peaks.fp64 == pytest.approx(peaks.fp32 * share, rel=0.03, abs=rounding)


@pytest.mark.parametrize("spec", NVIDIA, ids=ids(NVIDIA))
def test_fp16_peak_follows_from_the_tensor_cores(spec: GpuSpec) -> None:
    peaks = spec.peak_flops_per_s
    assert spec.compute_capability is not None
    assert peaks.fp16 is not None
    assert peaks.fp32 is not None
    if spec.id in OWN_RULES:
        return
    if not spec.tensor_cores:
        factor = 1 / 64 if spec.compute_capability == (6, 1) else 2
        assert peaks.fp16 == pytest.approx(peaks.fp32 * factor, rel=0.03)
        return
    half = "GeForce" in spec.name or spec.id in HALF_RATE
    rate = FULL_RATE[spec.compute_capability] / (2 if half else 1)
    clock = spec.tensor_peak_clock_hz or spec.boost_clock_hz
    assert peaks.fp16 == pytest.approx(spec.streaming_multiprocessors * clock * rate, rel=0.03)


@pytest.mark.parametrize("spec", NVIDIA, ids=ids(NVIDIA))
def test_number_formats_that_the_chip_has(spec: GpuSpec) -> None:
    peaks, capability = spec.peak_flops_per_s, spec.compute_capability
    assert capability is not None
    assert (peaks.tf32 is not None) == (capability >= (8, 0))
    assert (peaks.bf16 is not None) == (capability >= (8, 0))
    assert (peaks.fp8 is not None) == (capability >= (8, 9))
    if peaks.bf16 is not None and peaks.tf32 is not None:
        assert peaks.bf16 == peaks.fp16
        assert peaks.tf32 == pytest.approx(peaks.bf16 / 2, rel=0.03)


@pytest.mark.parametrize("spec", SPECS, ids=ids(list(SPECS)))
def test_measured_matmul_is_near_or_below_the_peak(spec: GpuSpec) -> None:
    if spec.measured_matmul_flops_per_s is None:
        return
    for name, measured in spec.measured_matmul_flops_per_s.to_dict().items():
        peak = spec.peak_flops_per_s.to_dict()[name]
        # Without tensor cores torch computes float16 by other units than those of the peak.
        if name == "fp16" and spec.tensor_cores == 0:
            peak = None
        if measured is not None and peak is not None:
            assert 0.3 * peak <= measured <= 1.2 * peak, name


@pytest.mark.parametrize("spec", SPECS, ids=ids(list(SPECS)))
def test_measured_bandwidth_is_below_that_of_the_vendor(spec: GpuSpec) -> None:
    if spec.measured_bandwidth_bytes_per_s is not None:
        share = spec.measured_bandwidth_bytes_per_s / spec.memory_bandwidth_bytes_per_s
        assert 0.7 < share < 0.95


@pytest.mark.parametrize("spec", SPECS, ids=ids(list(SPECS)))
def test_the_power_limit_as_shipped_is_one_that_the_driver_takes(spec: GpuSpec) -> None:
    if spec.power_limits_w is not None:
        least, greatest = spec.power_limits_w
        assert 0.2 * spec.tdp_w <= least < spec.tdp_w <= greatest


@pytest.mark.parametrize("spec", NVIDIA, ids=ids(NVIDIA))
def test_context_overhead_is_modelled_or_among_what_was_observed(spec: GpuSpec) -> None:
    assert spec.context is not None
    assert spec.limits is not None
    if spec.context.kind is ContextKind.MODEL:
        modelled = modelled_context_mib(spec.streaming_multiprocessors, spec.limits.threads_per_sm)
        assert spec.context.overhead_bytes == modelled * MIB
    else:
        assert spec.context.observed_bytes is not None
        least, greatest = spec.context.observed_bytes
        assert least <= spec.context.overhead_bytes <= greatest


def test_context_model_by_hand() -> None:
    # A100: 46 + 2.174 * 108 * 2048 / 1000 = 526.9
    assert modelled_context_mib(108, 2048) == 527


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("v100-sxm2-16gb", {"boost_clock_hz": 1_530_000_000, "tdp_w": 300}),
        ("v100-sxm2-32gb", {"tdp_w": 300}),
        ("a100-pcie-80gb", {"l2_bytes": 40 * MIB}),
        ("a10g", {"streaming_multiprocessors": 80, "tdp_w": 300}),
        ("l4", {"streaming_multiprocessors": 58, "memory_bandwidth_bytes_per_s": 300e9}),
        ("l40s", {"l2_bytes": 96 * MIB, "tdp_w": 350}),
        ("b200-sxm", {"nominal_memory_bytes": 180 * GIB, "memory_bandwidth_bytes_per_s": 8e12}),
        ("mi210", {"l2_bytes": 8 * MIB}),
        ("mi300x", {"memory_bandwidth_bytes_per_s": 5.3e12}),
    ],
)
def test_figures_that_public_lists_have_wrong(card: str, expected: dict[str, float]) -> None:
    spec = load_gpus().find(card).spec
    assert {key: getattr(spec, key) for key in expected} == expected


def test_schema_document_names_every_key() -> None:
    document = (HARDWARE_DB / "SCHEMA.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9_.\[\]]+)`", document))

    def keys(value: object, above: str = "") -> set[str]:
        if isinstance(value, list):
            return set().union(*(keys(item, f"{above}[]") for item in value))
        if not isinstance(value, dict):
            return set()
        found = set()
        for key, below in value.items():
            path = f"{above}.{key}" if above and above not in ("peaks_tflops", "sources") else key
            if above == "measured_matmul_tflops":
                path = key
            found |= {path}
            if key not in ("assumed_for",):
                found |= keys(below, path)
        return found

    for path in FILES:
        missing = keys(_raw(path)) - named
        assert not missing, f"{path.name}: {missing}"
