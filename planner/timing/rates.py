"""Gives the rates that a card's arithmetic units and memory reach: the two roofs.

In: GpuSpec, a dtype, whether TF32 is allowed. Out: Rate; bytes per second; the basis of each.
Convention: FLOP/s and bytes/s of large, well-shaped kernels, before the losses by shape and kind of
kernel. What was measured on the card comes first, then the share of its peak that related cards
reach: those with its compute capability, of GeForce or not, and with its type of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.hardware.specs import ArithmeticRates, GpuSpec, InlineEcc, Vendor
from planner.timing.measured.kernel_time import TimeSource


class Path(str, Enum):
    """The units that compute."""

    TENSOR_CORES = "tensor cores"
    TF32 = "tensor cores in TF32"
    CUDA_CORES = "CUDA cores"
    EMULATED = "emulated on CUDA cores"  # half precision that the card has no fast units for


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """FLOP/s that a large matrix product reaches, and by which units."""

    flops_per_s: float
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBasis:
    """Where a rate is from, and how far it can be trusted."""

    source: TimeSource
    """TABLE: measured on the card. RELATED: measured on related cards. FALLBACK: a share of the
    peak that unrelated cards reach."""
    spread: float
    """Standard deviation of the logarithm of measured over given rates."""


# Of the engines and programs that measured the same card: 90th percentiles of bf16 products on
# A100 254, 266 and 295 TFLOP/s, on H100 736, 803 and 852, on an RTX PRO 6000 390, 413 and 437
# (aiconfigurator-core 0.12.0); weights read from memory differ by 2 % between the same engines.
MEASURED_SPREAD, MEASURED_MEMORY_SPREAD = 0.07, 0.02
# Of the cards of the database, each left out (tests/unit/timing/test_rates.py computes them anew).
RELATED_SPREAD, FALLBACK_SPREAD = 0.14, 0.19
RELATED_MEMORY_SPREAD, FALLBACK_MEMORY_SPREAD = 0.04, 0.10
# Of the peak, where no large product was measured on the card or a related one: the medians over
# the cards of the database that have both figures (tests/unit/timing/test_rates.py computes them
# anew). No card has fp64 measured.
MEASURED_FRACTION = {"fp64": 0.85, "tf32": 0.90, "fp16": 0.78, "bf16": 0.81, "fp8": 0.65}
# The same over related cards, by compute capability and whether tensor cores have half of their
# rate (GeForce): these keep their boost clock and more, the others are limited by their power.
RELATED_FRACTIONS: dict[tuple[tuple[int, int], bool], dict[str, float]] = {
    ((7, 0), False): {"fp16": 0.76},
    ((7, 5), True): {"fp16": 1.09},
    ((8, 0), False): {"tf32": 0.69, "fp16": 0.79, "bf16": 0.80},
    ((8, 6), False): {"tf32": 0.90, "fp16": 0.82, "bf16": 0.81},
    ((8, 6), True): {"tf32": 1.07, "fp16": 1.07, "bf16": 1.08},
    ((8, 9), False): {"fp16": 0.59, "bf16": 0.60, "fp8": 0.53},
    ((8, 9), True): {"tf32": 1.04, "fp16": 1.02, "bf16": 0.98},
    ((9, 0), False): {"tf32": 0.81, "fp16": 0.77, "bf16": 0.81, "fp8": 0.68},
    ((10, 0), False): {"fp16": 0.69, "bf16": 0.72, "fp8": 0.65},
    ((12, 0), False): {"fp16": 0.62, "bf16": 0.82, "fp8": 0.76},
    ((12, 0), True): {"tf32": 1.03, "fp16": 1.00, "bf16": 1.02},
}
_HALVED = 1.5  # a card whose tensor cores gain more than this by accumulating in fp16
# Energy of one operation of half precision where tensor cores have their full rate and the power of
# the board is the limit: RTX A4000 65.4 TFLOP/s at 140 W, A6000 123 at 300
# (https://github.com/zzc0721/torch-performance-test-data).
HALF_JOULES = {(8, 6): 2.2e-12}
# The same of float32, by how a multiprocessor issues instructions: four schedulers, each one
# instruction of 32 threads in a cycle, so 128 lanes in all (CUDA C++ Programming Guide, Throughput
# of Native Arithmetic Instructions: results of float32 per cycle and multiprocessor).
# With 64 lanes of float32 (6.0, 7.x, 8.0) half of the slots are free for loads and addresses; the
# schedulers of 6.1 have 128 lanes, but issue two instructions in a cycle (Pascal whitepaper). Best
# of five sizes in torch.matmul 0.90 to 0.98 (https://github.com/zzc0721/torch-performance-test-data);
# over large shapes V100-PCIE 0.99, A100 80GB PCIe 0.93, A100 40GB PCIe 0.84, P100 0.77
# (https://github.com/sitar-lab/NeuSight).
SEPARATE_PIPE_FRACTION = 0.93
# With 128 lanes every slot is needed for multiply-adds, and on GeForce Ampere, Ada and Blackwell
# half of the lanes, or all, compute integers too: 0.60 to 0.71 where power is not the limit.
SHARED_PIPE_FRACTION = 0.65
# Hopper has integer lanes next to its 128 lanes of float32, but the same slots: 0.73 to 0.78.
HOPPER_FRACTION = 0.75
DATACENTER_BLACKWELL_FRACTION = 0.88  # B200, 66.2 of 75 TFLOP/s
_OTHER_FRACTION = 0.70  # the median over all of them, for cards of other makers
_FLOAT32_FRACTIONS = {
    (6, 0): SEPARATE_PIPE_FRACTION, (6, 1): SEPARATE_PIPE_FRACTION, (7, 0): SEPARATE_PIPE_FRACTION,
    (7, 5): SEPARATE_PIPE_FRACTION, (8, 0): SEPARATE_PIPE_FRACTION,
    (8, 6): SHARED_PIPE_FRACTION, (8, 9): SHARED_PIPE_FRACTION, (12, 0): SHARED_PIPE_FRACTION,
    (9, 0): HOPPER_FRACTION,
    (10, 0): DATACENTER_BLACKWELL_FRACTION, (10, 3): DATACENTER_BLACKWELL_FRACTION,
}  # fmt: skip
# Energy of one float32 operation of a large product, where the power of the board is the limit:
# RTX A2000 5.5 TFLOP/s at 70 W, A4000 11.9 at 140, A6000 23.9 and A40 23.7 at 300; L40S 46.9 at
# 350 (all torch-performance-test-data), L4 8.8 at 72 (NeuSight, in the median).
FLOAT32_JOULES = {(8, 6): 12.5e-12, (8, 9): 8.0e-12}
# torch makes cuBLAS accumulate half-precision products in float32 (CUDA_R_32F,
# aten/src/ATen/cuda/CUDABlas.cpp). Without tensor cores they are computed in float32: P100 8.4 of
# 8.6 TFLOP/s, P40 10.0 of 10.1, P4 4.8 of 5.0, GTX 1080 Ti 9.6 of 10.1, GTX 1070 Ti 7.6 of 7.6.
WIDENED_FP16_FRACTION = 0.97
# Turing without tensor cores (GTX 16xx) runs kernels made for them by other units: GTX 1660 Ti 0.61
# of 5.24, GTX 1650 Ti 0.39 of 2.52 (https://github.com/pytorch/pytorch/issues/121957 and 195716).
TENSORLESS_FP16_FRACTION = 0.13
# bfloat16 without hardware, over measured float32: T4, T10, RTX 2080, RTX 2080 Ti, P4, P40,
# GTX 1070 Ti, 1080 Ti, 1660 Ti 0.52 to 0.57; P100, V100, V100S 0.71 to 0.73. Only products: cuDNN
# has no such convolutions before 8.0, and torch's way around that is not known.
EMULATED_BF16_FRACTION = 0.54
EMULATED_BF16_FRACTIONS = {(6, 0): 0.72, (7, 0): 0.72}
# (all three: https://github.com/zzc0721/torch-performance-test-data, torch.matmul)
# Tensor cores of GA100 and GH100 compute float64 at twice the rate of CUDA cores, in products
# (A100 datasheet: 9.7 and 19.5 TFLOP/s; H100: 34 and 67). Not on the H20, whose float64 is cut.
_FP64_TENSOR_CORES, _FP64_TENSOR_GAIN = ((8, 0), (9, 0)), 2
_HALF = ("fp16", "bf16")
_CUT_FP64 = 1 / 4  # of float32: a lower rate is a reduced float64
_FIRST_WITH_TENSOR_CORES = (7, 0)
_UNITS = {
    "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8",
}  # fmt: skip
# Share of the memory bandwidth that large kernels reach, over the cards of the database that have
# it measured (tests/unit/timing/test_rates.py computes the medians anew): by compute capability,
# type of memory and whether error correction is kept in it; else by the type alone.
RELATED_BANDWIDTH: dict[tuple[tuple[int, int], str, bool], float] = {
    ((6, 0), "HBM2", False): 0.73, ((7, 0), "HBM2", False): 0.91, ((8, 0), "HBM2", False): 0.89,
    ((8, 0), "HBM2e", False): 0.86, ((9, 0), "HBM3", False): 0.86, ((9, 0), "HBM3e", False): 0.86,
    ((10, 0), "HBM3e", False): 0.87, ((8, 6), "GDDR6X", False): 0.90,
    ((8, 9), "GDDR6X", False): 0.91, ((12, 0), "GDDR7", False): 0.85,
    ((7, 5), "GDDR6", False): 0.85, ((7, 5), "GDDR6", True): 0.73, ((8, 9), "GDDR6", True): 0.81,
}  # fmt: skip
BANDWIDTH_FRACTIONS = {
    "HBM2": 0.89, "HBM2e": 0.86, "HBM3": 0.86, "HBM3e": 0.86, "GDDR6X": 0.90, "GDDR7": 0.85,
    "GDDR6": 0.85,
}  # fmt: skip
BANDWIDTH_FRACTION_ECC = 0.78  # GDDR with error correction in the card's own memory
_BANDWIDTH_FRACTION = 0.8  # of a type without measurements


def arithmetic_rate(card: GpuSpec, dtype: str, *, tf32: bool, is_product: bool = False) -> Rate:
    """Returns the rate of a large matrix product of `dtype` (as in torch.float16) on the card.

    `tf32` is whether float32 operands may be rounded to TF32; `is_product`, whether it is a matrix
    product, which tensor cores may compute in float64. Integers go as float32 does.
    """
    if dtype in _UNITS:
        return _narrow_rate(card, _UNITS[dtype])
    if dtype in ("float64", "complex128"):
        return _float64_rate(card, is_product=is_product)
    rounded = _reached(card, "tf32") if tf32 else None
    if rounded is not None:
        return Rate(flops_per_s=rounded, path=Path.TF32)
    return Rate(flops_per_s=_float32(card), path=Path.CUDA_CORES)


def rate_basis(card: GpuSpec, dtype: str, *, tf32: bool) -> RateBasis:
    """Returns where the rate of `arithmetic_rate` is from, and its spread."""
    unit = _UNITS.get(dtype, "fp64" if dtype in ("float64", "complex128") else "fp32")
    if unit == "fp32" and tf32 and card.peak_flops_per_s.tf32 is not None:
        unit = "tf32"
    if _measured(card, unit) is not None:
        return RateBasis(source=TimeSource.TABLE, spread=MEASURED_SPREAD)
    if unit == "fp32":
        is_related = card.compute_capability in _FLOAT32_FRACTIONS
    elif unit in _UNITS.values() and not _has_units(card, unit):
        return rate_basis(card, "float32", tf32=False)  # a share of the rate of float32
    else:
        is_related = unit in RELATED_FRACTIONS.get(family(card), {})
    if is_related:
        return RateBasis(source=TimeSource.RELATED, spread=RELATED_SPREAD)
    return RateBasis(source=TimeSource.FALLBACK, spread=FALLBACK_SPREAD)


def peak_rate(card: GpuSpec, dtype: str, path: Path) -> float | None:
    """Returns the published dense peak of the units that compute `dtype`, in FLOP/s.

    None: none is published for them, as for float64 on tensor cores and what is emulated.
    """
    peaks = card.peak_flops_per_s
    if path is Path.TF32:
        return peaks.tf32
    if path is Path.TENSOR_CORES:
        return _of(peaks, _UNITS[dtype]) if dtype in _UNITS else None
    if path is Path.EMULATED:
        return None
    return peaks.fp64 if dtype in ("float64", "complex128") else peaks.fp32


def issue_rate(card: GpuSpec) -> float:
    """Returns instructions of single threads per second: four schedulers of 32 threads on an SM.

    From Volta on (https://docs.nvidia.com/cuda/cuda-c-programming-guide, Compute Capabilities).
    """
    return 4 * 32 * card.streaming_multiprocessors * card.boost_clock_hz


def memory_rate(card: GpuSpec) -> float:
    """Returns the bytes per second that a large kernel reads and writes."""
    if card.measured_bandwidth_bytes_per_s is not None:
        return card.measured_bandwidth_bytes_per_s
    fraction = RELATED_BANDWIDTH.get(_memory_family(card))
    if fraction is None:
        fraction = BANDWIDTH_FRACTIONS.get(card.memory_type, _BANDWIDTH_FRACTION)
        if card.inline_ecc is InlineEcc.ENABLED:
            fraction = BANDWIDTH_FRACTION_ECC
    return fraction * card.memory_bandwidth_bytes_per_s


def memory_basis(card: GpuSpec) -> RateBasis:
    """Returns where the rate of `memory_rate` is from, and its spread."""
    if card.measured_bandwidth_bytes_per_s is not None:
        return RateBasis(source=TimeSource.TABLE, spread=MEASURED_MEMORY_SPREAD)
    if _memory_family(card) in RELATED_BANDWIDTH:
        return RateBasis(source=TimeSource.RELATED, spread=RELATED_MEMORY_SPREAD)
    return RateBasis(source=TimeSource.FALLBACK, spread=FALLBACK_MEMORY_SPREAD)


def family(card: GpuSpec) -> tuple[tuple[int, int], bool]:
    """Returns the key of RELATED_FRACTIONS: compute capability, whether tensor cores are halved."""
    peaks = card.peak_flops_per_s
    gained, half = peaks.fp16_fp16_accumulate, peaks.fp16
    is_halved = gained is not None and half is not None and gained > _HALVED * half
    return card.compute_capability or (0, 0), is_halved


def _memory_family(card: GpuSpec) -> tuple[tuple[int, int], str, bool]:
    capability = card.compute_capability or (0, 0)
    return capability, card.memory_type, card.inline_ecc is InlineEcc.ENABLED


def _narrow_rate(card: GpuSpec, unit: str) -> Rate:
    """Returns the rate of half precision and less: of tensor cores where the card has them."""
    capability, reached = card.compute_capability or (0, 0), _reached(card, unit)
    if _has_units(card, unit) and reached is not None:
        return Rate(flops_per_s=reached, path=Path.TENSOR_CORES)
    is_before = _is_before_tensor_cores(card)
    fraction = EMULATED_BF16_FRACTIONS.get(capability, EMULATED_BF16_FRACTION)
    path = Path.EMULATED
    if unit == "fp16":
        fraction = WIDENED_FP16_FRACTION if is_before else TENSORLESS_FP16_FRACTION
        path = Path.CUDA_CORES if is_before else Path.EMULATED
    return Rate(flops_per_s=_measured(card, unit) or fraction * _float32(card), path=path)


def _has_units(card: GpuSpec, unit: str) -> bool:
    """Returns whether the card has tensor cores for this format."""
    peak = _of(card.peak_flops_per_s, unit)
    return card.tensor_cores != 0 and not _is_before_tensor_cores(card) and peak is not None


def _is_before_tensor_cores(card: GpuSpec) -> bool:
    capability = card.compute_capability or (0, 0)
    return card.vendor is Vendor.NVIDIA and capability < _FIRST_WITH_TENSOR_CORES


def _float64_rate(card: GpuSpec, *, is_product: bool) -> Rate:
    """Returns the rate of float64; without a published peak an eighth of float32's, in software."""
    found = _reached(card, "fp64")
    if found is None:
        return Rate(flops_per_s=_float32(card) / 8, path=Path.CUDA_CORES)
    double, single = card.peak_flops_per_s.fp64, card.peak_flops_per_s.fp32
    is_full = double is not None and single is not None and double >= _CUT_FP64 * single
    has_cores = card.compute_capability in _FP64_TENSOR_CORES and is_full
    if is_product and has_cores and _measured(card, "fp64") is None:
        return Rate(flops_per_s=_FP64_TENSOR_GAIN * found, path=Path.TENSOR_CORES)
    return Rate(flops_per_s=found, path=Path.CUDA_CORES)


def _float32(card: GpuSpec) -> float:
    """Returns the measured rate; else a share of the peak, limited by the power of the board."""
    measured = _measured(card, "fp32")
    if measured is not None:
        return measured
    peak, capability = card.peak_flops_per_s.fp32, card.compute_capability or (0, 0)
    if peak is None:
        return float(card.cuda_cores or 1)
    issued = _FLOAT32_FRACTIONS.get(capability, _OTHER_FRACTION) * peak
    joules = FLOAT32_JOULES.get(capability)
    return issued if joules is None else min(issued, card.tdp_w / joules)


def _reached(card: GpuSpec, unit: str) -> float | None:
    """Returns the measured rate, else a share of the peak; None: the card has no such units."""
    peak, measured = _of(card.peak_flops_per_s, unit), _measured(card, unit)
    if peak is None or measured is not None:
        return None if peak is None else measured
    capability, is_halved = family(card)
    related = RELATED_FRACTIONS.get((capability, is_halved), {})
    issued = related.get(unit, MEASURED_FRACTION[unit]) * peak
    joules = None if is_halved or unit not in _HALF else HALF_JOULES.get(capability)
    return issued if joules is None else min(issued, card.tdp_w / joules)


def _measured(card: GpuSpec, unit: str) -> float | None:
    found = card.measured_matmul_flops_per_s
    return None if found is None else _of(found, unit)


def _of(rates: ArithmeticRates, unit: str) -> float | None:
    value: float | None = getattr(rates, unit)
    return value
