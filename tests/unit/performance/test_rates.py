"""What a card reaches: measured over peak, TF32 on request, bfloat16 without hardware."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from planner.hardware.database import load_gpus
from planner.hardware.specs import ArithmeticRates, GpuSpec, InlineEcc
from planner.performance.rates import (
    EMULATED_BF16_FRACTION,
    MEASURED_FRACTION,
    Path,
    arithmetic_rate,
    memory_rate,
)

PEAKS = ArithmeticRates(fp64=10e12, fp32=20e12, tf32=150e12, fp16=300e12, bf16=300e12)


@pytest.fixture(scope="module")
def a100() -> GpuSpec:
    """Peaks in round figures, nothing measured."""
    card = load_gpus().find("a100-sxm4-80gb").spec
    return replace(card, peak_flops_per_s=PEAKS, measured_matmul_flops_per_s=None)


def test_fractions_of_the_peak_are_medians_of_the_database() -> None:
    """To within 0.03: they are round figures; no card of the database has fp64 measured."""
    for unit, fraction in MEASURED_FRACTION.items():
        reached = [
            measured / peak
            for card in load_gpus().all()
            if card.measured_matmul_flops_per_s is not None
            and (measured := getattr(card.measured_matmul_flops_per_s, unit))
            and (peak := getattr(card.peak_flops_per_s, unit))
        ]
        if unit == "fp64":
            assert not reached
        else:
            assert len(reached) >= 10
            assert median(reached) == pytest.approx(fraction, abs=0.03)


@pytest.mark.parametrize(
    ("dtype", "unit", "path"),
    [
        ("float16", "fp16", Path.TENSOR_CORES),
        ("bfloat16", "bf16", Path.TENSOR_CORES),
        ("float32", "fp32", Path.CUDA_CORES),
        ("float64", "fp64", Path.CUDA_CORES),
        ("int64", "fp32", Path.CUDA_CORES),
    ],
)
def test_without_a_measurement_it_is_a_share_of_the_peak(
    a100: GpuSpec, dtype: str, unit: str, path: Path
) -> None:
    found = arithmetic_rate(a100, dtype, tf32=False)
    assert found.flops_per_s == MEASURED_FRACTION[unit] * getattr(PEAKS, unit)
    assert found.path is path


def test_what_was_measured_comes_before_the_peak(a100: GpuSpec) -> None:
    card = replace(a100, measured_matmul_flops_per_s=ArithmeticRates(fp16=321e12))
    assert arithmetic_rate(card, "float16", tf32=False).flops_per_s == 321e12
    # What was not measured is still a share of its peak.
    assert arithmetic_rate(card, "bfloat16", tf32=False).flops_per_s < 300e12


def test_tf32_is_used_where_it_is_allowed_and_there(a100: GpuSpec) -> None:
    allowed = arithmetic_rate(a100, "float32", tf32=True)
    assert allowed.path is Path.TF32
    assert allowed.flops_per_s == MEASURED_FRACTION["tf32"] * 150e12
    old = replace(a100, peak_flops_per_s=replace(PEAKS, tf32=None))
    assert arithmetic_rate(old, "float32", tf32=True).path is Path.CUDA_CORES


def test_bfloat16_without_hardware_is_emulated(a100: GpuSpec) -> None:
    old = replace(a100, peak_flops_per_s=replace(PEAKS, bf16=None))
    found = arithmetic_rate(old, "bfloat16", tf32=False)
    plain = arithmetic_rate(old, "float32", tf32=False)
    assert found.path is Path.EMULATED
    assert found.flops_per_s == EMULATED_BF16_FRACTION * plain.flops_per_s


def test_half_precision_without_tensor_cores_is_of_cuda_cores(a100: GpuSpec) -> None:
    old = replace(a100, tensor_cores=None)
    assert arithmetic_rate(old, "float16", tf32=False).path is Path.CUDA_CORES


def test_without_any_figure_float64_is_an_eighth_of_float32(a100: GpuSpec) -> None:
    card = replace(a100, peak_flops_per_s=replace(PEAKS, fp64=None))
    single = arithmetic_rate(card, "float32", tf32=False).flops_per_s
    assert arithmetic_rate(card, "float64", tf32=False).flops_per_s == single / 8


def test_memory_is_slower_than_its_bandwidth_and_slower_still_with_inline_ecc(
    a100: GpuSpec,
) -> None:
    plain = replace(a100, memory_type="GDDR6", inline_ecc=InlineEcc.NONE)
    checked = replace(plain, inline_ecc=InlineEcc.ENABLED)
    assert memory_rate(checked) < memory_rate(plain) < plain.memory_bandwidth_bytes_per_s
