"""What a card reaches: measured over peak, TF32 on request, bfloat16 without hardware."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import log, sqrt
from statistics import median

import pytest

from planner.hardware.database import load_gpus
from planner.hardware.specs import ArithmeticRates, GpuSpec, InlineEcc, Vendor
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.rates import (
    BANDWIDTH_FRACTION_ECC,
    BANDWIDTH_FRACTIONS,
    DATACENTER_BLACKWELL_FRACTION,
    FALLBACK_MEMORY_SPREAD,
    FALLBACK_SPREAD,
    FLOAT32_JOULES,
    HALF_JOULES,
    HOPPER_FRACTION,
    MEASURED_FRACTION,
    MEASURED_MEMORY_SPREAD,
    MEASURED_SPREAD,
    RELATED_BANDWIDTH,
    RELATED_FRACTIONS,
    RELATED_MEMORY_SPREAD,
    RELATED_SPREAD,
    SEPARATE_PIPE_FRACTION,
    SHARED_PIPE_FRACTION,
    Path,
    arithmetic_rate,
    family,
    memory_basis,
    memory_rate,
    rate_basis,
)

PEAKS = ArithmeticRates(fp64=10e12, fp32=20e12, tf32=150e12, fp16=300e12, bf16=300e12)


@pytest.fixture(scope="module")
def a100() -> GpuSpec:
    """Peaks in round figures, nothing measured."""
    card = load_gpus().find("a100-sxm4-80gb").spec
    return replace(
        card,
        peak_flops_per_s=PEAKS,
        measured_matmul_flops_per_s=None,
        measured_bandwidth_bytes_per_s=None,
    )


def _shares(unit: str, *capabilities: tuple[int, int]) -> list[float]:
    """Measured over peak, of all cards with tensor cores or of those of some capabilities."""
    return [
        measured / peak
        for card in load_gpus().all()
        if card.measured_matmul_flops_per_s is not None
        and (card.compute_capability in capabilities if capabilities else card.tensor_cores)
        and not (unit == "fp32" and card.id in POWER_LIMITED)
        and (measured := getattr(card.measured_matmul_flops_per_s, unit))
        and (peak := getattr(card.peak_flops_per_s, unit))
    ]


# 70 W and 72 W for 8.1 and 30.3 TFLOP/s.
POWER_LIMITED = ("t4", "l4")


@pytest.mark.parametrize("unit", ["tf32", "fp16", "bf16", "fp8"])
def test_fractions_of_the_peak_are_medians_of_the_database(unit: str) -> None:
    """To within 0.03: they are round figures."""
    shares = _shares(unit)
    assert len(shares) >= 5
    assert median(shares) == pytest.approx(MEASURED_FRACTION[unit], abs=0.03)


def test_no_card_of_the_database_has_float64_measured() -> None:
    assert not _shares("fp64")


Family = tuple[tuple[int, int], bool]


def _of_families(unit: str) -> dict[str, tuple[Family, float]]:
    """Measured over peak of each card with tensor cores whose power is not the limit."""
    return {
        card.id: (family(card), measured / peak)
        for card in load_gpus().all()
        if card.tensor_cores and card.compute_capability and card.id not in POWER_LIMITED
        if card.measured_matmul_flops_per_s is not None
        if (measured := getattr(card.measured_matmul_flops_per_s, unit))
        if (peak := getattr(card.peak_flops_per_s, unit))
    }


UNITS = ("tf32", "fp16", "bf16", "fp8")


def test_related_cards_reach_the_medians_of_the_database() -> None:
    found: dict[Family, dict[str, float]] = {}
    for unit in UNITS:
        shares = _of_families(unit)
        for key in {key for key, _ in shares.values()}:
            of_family = [share for other, share in shares.values() if other == key]
            found.setdefault(key, {})[unit] = pytest.approx(median(of_family), abs=0.011)
    assert found == RELATED_FRACTIONS


def _root_of_squares(errors: list[float]) -> float:
    return sqrt(sum(error * error for error in errors) / len(errors))


def test_spreads_are_those_of_cards_left_out() -> None:
    related, unrelated = [], []
    for unit in UNITS:
        shares = _of_families(unit)
        for name, (key, share) in shares.items():
            rest = {other: one for other, one in shares.items() if other != name}
            alike = [one for other, one in rest.values() if other == key]
            unlike = [one for other, one in rest.values() if other != key]
            related += [log(share / median(alike))] if alike else []
            unrelated.append(log(share / median(unlike)))
    assert len(related) >= 30
    assert _root_of_squares(related) == pytest.approx(RELATED_SPREAD, abs=0.01)
    assert _root_of_squares(unrelated) == pytest.approx(FALLBACK_SPREAD, abs=0.01)
    assert MEASURED_SPREAD < RELATED_SPREAD < FALLBACK_SPREAD


def _without_own_rates(card: GpuSpec) -> GpuSpec:
    return replace(card, measured_matmul_flops_per_s=None, measured_bandwidth_bytes_per_s=None)


def test_float32_of_measured_cards_from_their_peaks_alone() -> None:
    """The worst is the P100: long kernels of one shape reach 7.2 of 9.3 TFLOP/s."""
    errors = [
        log(measured / arithmetic_rate(bare, "float32", tf32=False).flops_per_s)
        for card in load_gpus().all()
        if card.measured_matmul_flops_per_s is not None
        and (measured := card.measured_matmul_flops_per_s.fp32)
        and card.id != "t4"  # 70 W; no figure tells the energy of an operation on its chip
        for bare in [_without_own_rates(card)]
    ]
    assert len(errors) >= 25
    assert _root_of_squares(errors) < RELATED_SPREAD


def _bandwidths() -> dict[str, tuple[GpuSpec, float]]:
    return {
        card.id: (card, measured / card.memory_bandwidth_bytes_per_s)
        for card in load_gpus().all()
        if (measured := card.measured_bandwidth_bytes_per_s) is not None
    }


def _memory_of(card: GpuSpec) -> tuple[object, str, bool]:
    return card.compute_capability, card.memory_type, card.inline_ecc is InlineEcc.ENABLED


def test_bandwidths_are_medians_of_the_database() -> None:
    shares = _bandwidths().values()
    alike: dict[object, list[float]] = {}
    for card, share in shares:
        alike.setdefault(_memory_of(card), []).append(share)
    expected = {key: pytest.approx(median(found), abs=0.006) for key, found in alike.items()}
    assert expected == RELATED_BANDWIDTH
    for name, fraction in BANDWIDTH_FRACTIONS.items():
        of_type = [
            share
            for card, share in shares
            if card.memory_type == name and card.inline_ecc is not InlineEcc.ENABLED
        ]
        assert median(of_type) == pytest.approx(fraction, abs=0.006), name
    checked = [share for card, share in shares if card.inline_ecc is InlineEcc.ENABLED]
    assert median(checked) == pytest.approx(BANDWIDTH_FRACTION_ECC, abs=0.006)


def test_spreads_of_bandwidth_are_those_of_cards_left_out() -> None:
    def errors(is_like: Callable[[GpuSpec, GpuSpec], bool]) -> Iterator[float]:
        shares = _bandwidths()
        for name, (card, share) in shares.items():
            rest = [found for other, found in shares.items() if other != name]
            others = [one for spec, one in rest if is_like(card, spec)]
            if others:
                yield log(share / median(others))

    def is_of_type(card: GpuSpec, other: GpuSpec) -> bool:
        (_, kind, ecc), (_, other_kind, other_ecc) = _memory_of(card), _memory_of(other)
        return _memory_of(card) != _memory_of(other) and (
            other_ecc if ecc else kind == other_kind and not other_ecc
        )

    related = list(errors(lambda card, other: _memory_of(card) == _memory_of(other)))
    unrelated = list(errors(is_of_type))
    assert len(related) >= 6
    assert len(unrelated) >= 10
    assert _root_of_squares(related) == pytest.approx(RELATED_MEMORY_SPREAD, abs=0.005)
    assert _root_of_squares(unrelated) == pytest.approx(FALLBACK_MEMORY_SPREAD, abs=0.005)
    assert MEASURED_MEMORY_SPREAD < RELATED_MEMORY_SPREAD < FALLBACK_MEMORY_SPREAD


@pytest.mark.parametrize(
    ("name", "dtype", "tf32", "source"),
    [
        ("h100", "bfloat16", False, TimeSource.TABLE),
        ("h100", "float32", True, TimeSource.TABLE),
        ("l4", "float32", False, TimeSource.TABLE),
        ("rtx-3070", "float16", False, TimeSource.RELATED),
        ("rtx-3070", "float32", True, TimeSource.RELATED),
        ("rtx-3070", "float32", False, TimeSource.RELATED),
        ("rtx-4070", "float8_e4m3fn", False, TimeSource.FALLBACK),
        ("quadro-rtx-6000", "float16", False, TimeSource.FALLBACK),
        ("a100", "float64", False, TimeSource.FALLBACK),
        # computed by CUDA cores at a share of the rate of float32
        ("v100-pcie-32gb", "bfloat16", False, TimeSource.TABLE),
        ("mi210", "bfloat16", False, TimeSource.FALLBACK),
    ],
)
def test_the_basis_of_a_rate(name: str, dtype: str, tf32: bool, source: TimeSource) -> None:
    found = rate_basis(load_gpus().find(name).spec, dtype, tf32=tf32)
    assert found.source is source
    spreads = {
        TimeSource.TABLE: MEASURED_SPREAD,
        TimeSource.RELATED: RELATED_SPREAD,
        TimeSource.FALLBACK: FALLBACK_SPREAD,
    }
    assert found.spread == spreads[source]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a100-pcie-40gb", TimeSource.TABLE),
        ("a100-sxm4-40gb", TimeSource.RELATED),
        ("rtx-3070", TimeSource.FALLBACK),
        ("a40", TimeSource.FALLBACK),
    ],
)
def test_the_basis_of_the_bandwidth(name: str, source: TimeSource) -> None:
    assert memory_basis(load_gpus().find(name).spec).source is source


def test_the_power_of_the_board_bounds_half_precision() -> None:
    """A10: 150 W / 2.2 pJ = 68 of 125 TFLOP/s; an A40 with 300 W is bounded by its units."""
    a10, a40 = (load_gpus().find(name).spec for name in ("a10", "a40"))
    assert arithmetic_rate(a10, "float16", tf32=False).flops_per_s == 150 / HALF_JOULES[8, 6]
    assert arithmetic_rate(a40, "float16", tf32=False).flops_per_s == 0.82 * 149.7e12


def test_tensor_cores_of_geforce_reach_their_halved_peak() -> None:
    rtx3070 = load_gpus().find("rtx-3070").spec
    peak = rtx3070.peak_flops_per_s.fp16
    assert peak is not None
    assert arithmetic_rate(rtx3070, "float16", tf32=False).flops_per_s == 1.07 * peak


@pytest.mark.parametrize(
    ("capabilities", "fraction", "tolerance"),
    [
        (((6, 0), (6, 1), (7, 0), (7, 5), (8, 0)), SEPARATE_PIPE_FRACTION, 0.05),
        (((8, 6), (8, 9), (12, 0)), SHARED_PIPE_FRACTION, 0.05),
        (((9, 0),), HOPPER_FRACTION, 0.03),
        (((10, 0),), DATACENTER_BLACKWELL_FRACTION, 0.03),
    ],
)
def test_float32_depends_on_how_the_multiprocessor_issues(
    capabilities: tuple[tuple[int, int], ...], fraction: float, tolerance: float
) -> None:
    assert median(_shares("fp32", *capabilities)) == pytest.approx(fraction, abs=tolerance)


# TFLOP/s of torch.matmul, best of five sizes (https://github.com/zzc0721/torch-performance-test-data,
# database.md and issues): cards whose records have no such figure.
MEASURED_ELSEWHERE = [
    ("v100s-pcie-32gb", 13.6), ("rtx-2080", 9.2), ("a40", 23.7), ("a10g", 23.4),
    ("rtx-a2000-12gb", 5.5), ("rtx-3080-ti", 24.4), ("rtx-4060", 8.3), ("rtx-4070-super", 24.6),
    ("rtx-4090-d", 50.1), ("rtx-5060-ti-16gb", 16.4),
]  # fmt: skip


def test_float32_of_cards_that_no_constant_was_taken_from() -> None:
    """The worst are RTX 4060 and V100S, measured far below their sisters."""
    errors = []
    for name, measured in MEASURED_ELSEWHERE:
        card = load_gpus().find(name).spec
        assert card.measured_matmul_flops_per_s is None
        found = arithmetic_rate(card, "float32", tf32=False).flops_per_s
        errors.append(abs(found / (measured * 1e12) - 1))
    assert median(errors) < 0.08
    assert max(errors) < 0.20


@pytest.mark.parametrize(
    ("name", "watts_hold_it_up"),
    [("a10", True), ("l40", True), ("rtx-6000-ada", True), ("rtx-3070", False)],
)
def test_the_power_of_the_board_bounds_float32(name: str, watts_hold_it_up: bool) -> None:
    """A10: 150 W / 12.5 pJ = 12.0 TFLOP/s of 31.2; RTX 3070: 0.65 x 20.3 are below 220 W / 12.5."""
    card = load_gpus().find(name).spec
    assert card.compute_capability is not None
    assert card.peak_flops_per_s.fp32 is not None
    found = arithmetic_rate(card, "float32", tf32=False).flops_per_s
    allowed = card.tdp_w / FLOAT32_JOULES[card.compute_capability]
    issued = SHARED_PIPE_FRACTION * card.peak_flops_per_s.fp32
    assert found == (allowed if watts_hold_it_up else issued)


@pytest.mark.parametrize(
    ("dtype", "unit", "path"),
    [
        ("float16", "fp16", Path.TENSOR_CORES),
        ("bfloat16", "bf16", Path.TENSOR_CORES),
        ("float64", "fp64", Path.CUDA_CORES),
    ],
)
def test_without_a_measurement_it_is_a_share_of_the_peak(
    a100: GpuSpec, dtype: str, unit: str, path: Path
) -> None:
    found = arithmetic_rate(a100, dtype, tf32=False)
    shares = MEASURED_FRACTION | RELATED_FRACTIONS[(8, 0), False]
    assert found.flops_per_s == shares[unit] * getattr(PEAKS, unit)
    assert found.path is path


@pytest.mark.parametrize("dtype", ["float32", "int64", "complex64"])
def test_float32_without_a_measurement_is_a_share_of_the_peak(a100: GpuSpec, dtype: str) -> None:
    found = arithmetic_rate(a100, dtype, tf32=False)
    assert found.flops_per_s == 0.93 * 20e12
    assert found.path is Path.CUDA_CORES


def test_what_was_measured_comes_before_the_peak(a100: GpuSpec) -> None:
    card = replace(a100, measured_matmul_flops_per_s=ArithmeticRates(fp16=321e12))
    assert arithmetic_rate(card, "float16", tf32=False).flops_per_s == 321e12
    # What was not measured is still a share of its peak.
    assert arithmetic_rate(card, "bfloat16", tf32=False).flops_per_s < 300e12


def test_tf32_is_used_where_it_is_allowed_and_there(a100: GpuSpec) -> None:
    allowed = arithmetic_rate(a100, "float32", tf32=True)
    assert allowed.path is Path.TF32
    assert allowed.flops_per_s == 0.69 * 150e12
    old = replace(a100, peak_flops_per_s=replace(PEAKS, tf32=None))
    assert arithmetic_rate(old, "float32", tf32=True).path is Path.CUDA_CORES


PASCAL = replace(PEAKS, fp64=0.35e12, fp32=10e12, tf32=None, fp16=0.16e12, bf16=None)


def _without_tensor_cores(a100: GpuSpec, capability: tuple[int, int]) -> GpuSpec:
    return replace(
        a100, compute_capability=capability, tensor_cores=0, peak_flops_per_s=PASCAL, tdp_w=250
    )


@pytest.mark.parametrize(
    ("capability", "dtype", "rate", "path"),
    [
        ((6, 0), "float16", 0.97 * 9.3e12, Path.CUDA_CORES),
        ((6, 1), "float16", 0.97 * 9.3e12, Path.CUDA_CORES),
        ((7, 5), "float16", 0.13 * 9.3e12, Path.EMULATED),
        ((6, 0), "bfloat16", 0.72 * 9.3e12, Path.EMULATED),
        ((6, 1), "bfloat16", 0.54 * 9.3e12, Path.EMULATED),
        ((7, 0), "bfloat16", 0.72 * 9.3e12, Path.EMULATED),
        ((7, 5), "bfloat16", 0.54 * 9.3e12, Path.EMULATED),
    ],
)
def test_half_precision_without_units_follows_float32(
    a100: GpuSpec, capability: tuple[int, int], dtype: str, rate: float, path: Path
) -> None:
    """float32 reaches 0.93 of 10 TFLOP/s; the card's own float16 peak of 0.16 is not used."""
    found = arithmetic_rate(_without_tensor_cores(a100, capability), dtype, tf32=True)
    assert found.flops_per_s == pytest.approx(rate)
    assert found.path is path


@pytest.mark.parametrize(
    ("name", "dtype", "measured", "path"),
    [
        ("p100-pcie-16gb", "float16", 8.4e12, Path.CUDA_CORES),
        ("gtx-1080-ti", "float16", 9.6e12, Path.CUDA_CORES),
        ("gtx-1660-ti", "float16", 0.61e12, Path.EMULATED),
        ("p100-pcie-16gb", "bfloat16", 6.1e12, Path.EMULATED),
        ("v100-sxm2-16gb", "bfloat16", 10.3e12, Path.EMULATED),
        ("t4", "bfloat16", 2.3e12, Path.EMULATED),
    ],
)
def test_a_measurement_counts_where_there_is_no_peak(
    name: str, dtype: str, measured: float, path: Path
) -> None:
    found = arithmetic_rate(load_gpus().find(name).spec, dtype, tf32=False)
    assert found.flops_per_s == measured
    assert found.path is path


def test_every_card_of_nvidia_has_a_plausible_rate_of_each_format() -> None:
    """Nothing that torch runs on CUDA cores is 20 times slower than float32, but float64."""
    for card in load_gpus().all():
        if card.vendor is not Vendor.NVIDIA:
            continue
        single = arithmetic_rate(card, "float32", tf32=False).flops_per_s
        assert 0.3 * card.peak_flops_per_s.fp32 < single  # type: ignore[operator]  # all have it
        for dtype in ("float16", "bfloat16"):
            assert arithmetic_rate(card, dtype, tf32=False).flops_per_s > single / 20


def test_products_in_float64_run_on_the_tensor_cores_of_ga100_and_gh100() -> None:
    cards = {name: load_gpus().find(name).spec for name in ("a100-sxm4-80gb", "h20", "rtx-3090")}
    share = MEASURED_FRACTION["fp64"]
    for name, gain in (("a100-sxm4-80gb", 2), ("h20", 1), ("rtx-3090", 1)):
        peak = cards[name].peak_flops_per_s.fp64
        assert peak is not None
        product = arithmetic_rate(cards[name], "float64", tf32=False, is_product=True)
        other = arithmetic_rate(cards[name], "float64", tf32=False)
        assert product.flops_per_s == pytest.approx(gain * share * peak)
        assert other.flops_per_s == pytest.approx(share * peak)


def test_float8_is_of_tensor_cores() -> None:
    """Hopper: 0.68 x 1978.9 TFLOP/s, 1.7 times the rate of an H100 in bfloat16."""
    h100 = _without_own_rates(load_gpus().find("h100").spec)
    for dtype in ("float8_e4m3fn", "float8_e5m2"):
        found = arithmetic_rate(h100, dtype, tf32=False)
        assert found.flops_per_s == pytest.approx(0.68 * 1978.9e12)
        assert found.path is Path.TENSOR_CORES


def test_without_any_figure_float64_is_an_eighth_of_float32(a100: GpuSpec) -> None:
    card = replace(a100, peak_flops_per_s=replace(PEAKS, fp64=None))
    single = arithmetic_rate(card, "float32", tf32=False).flops_per_s
    assert arithmetic_rate(card, "float64", tf32=False).flops_per_s == single / 8


def test_memory_is_slower_than_its_bandwidth_and_slower_still_with_inline_ecc(
    a100: GpuSpec,
) -> None:
    plain = replace(a100, memory_type="GDDR6", inline_ecc=InlineEcc.NONE)
    measured = replace(plain, measured_bandwidth_bytes_per_s=1.5e12)
    assert memory_rate(measured) == 1.5e12
    checked = replace(plain, inline_ecc=InlineEcc.ENABLED)
    assert memory_rate(checked) < memory_rate(plain) < plain.memory_bandwidth_bytes_per_s
