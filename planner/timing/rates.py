"""Gives the rates that a card's arithmetic units and memory reach: the two roofs.

In: GpuSpec, a dtype, whether TF32 is allowed. Out: Rate; bytes per second. Convention: FLOP/s and
bytes/s of large, well-shaped kernels, before the losses by shape and kind of kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.hardware.specs import ArithmeticRates, GpuSpec, InlineEcc, Vendor


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


# Of the peak, where no large product was measured on the card: the medians over the cards of the
# database that have both figures (tests/unit/timing/test_rates.py computes them anew). No card
# has fp64 measured. fp8: 1.29 (H100) to 1.87 times (RTX PRO 6000) the rate of bf16 in products of
# over 1 TFLOP (aiconfigurator-core 0.12.0 on PyPI), so 0.52 to 0.77 of the peak.
MEASURED_FRACTION = {"fp64": 0.85, "tf32": 0.90, "fp16": 0.80, "bf16": 0.80, "fp8": 0.58}
# The same of float32, by how a multiprocessor issues instructions: four schedulers, each one
# instruction of 32 threads in a cycle, so 128 lanes in all (CUDA C++ Programming Guide, Throughput
# of Native Arithmetic Instructions: results of float32 per cycle and multiprocessor).
# With 64 lanes of float32 (6.0, 7.x, 8.0) half of the slots are free for loads and addresses; the
# schedulers of 6.1 have 128 lanes, but issue two instructions in a cycle (Pascal whitepaper). Best
# of five sizes in torch.matmul 0.90 to 0.98 (https://github.com/zzc0721/torch-performance-test-data);
# over large shapes V100-PCIE 0.97, A100 80GB PCIe 0.92 to 0.94 (https://github.com/sitar-lab/NeuSight).
SEPARATE_PIPE_FRACTION = 0.96
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
_CUT_FP64 = 1 / 4  # of float32: a lower rate is a reduced float64
_FIRST_WITH_TENSOR_CORES = (7, 0)
_UNITS = {
    "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8",
}  # fmt: skip
# Share of the memory bandwidth that large copies on the card reach, by memory type. p2pBandwidth-
# LatencyTest of NVIDIA's samples, within one card: RTX 3090 838 of 936 GB/s
# (https://github.com/NVIDIA/nccl/issues/1127), RTX 4090 918 to 927 of 1008 and RTX 5090 1520 to
# 1553 of 1792 (https://github.com/tinygrad/open-gpu-kernel-modules/issues/6 and
# https://github.com/aikitoria/open-gpu-kernel-modules/issues/9), H100 2959 of 3350
# (https://github.com/NVIDIA/cuda-samples/issues/392). A800 80GB 1727 of 1935, elementwise in torch
# (https://github.com/mli/transformers-benchmarks/issues/4). bandwidthTest: V100 713 of 900, T4 234
# of 320, RTX 2080 Ti 524 of 616 (https://github.com/geoffxy/habitat).
_BANDWIDTH_FRACTIONS = {
    "HBM2": 0.79, "HBM2e": 0.89, "HBM3": 0.88, "HBM3e": 0.88, "GDDR6X": 0.91, "GDDR7": 0.86,
    "GDDR6": 0.85,
}  # fmt: skip
_BANDWIDTH_FRACTION_ECC = 0.73  # with error correction in the card's own memory, as on the T4
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
    """Returns the bytes per second that a large copy reaches."""
    fraction = _BANDWIDTH_FRACTIONS.get(card.memory_type, _BANDWIDTH_FRACTION)
    if card.inline_ecc is InlineEcc.ENABLED:
        fraction = _BANDWIDTH_FRACTION_ECC
    return fraction * card.memory_bandwidth_bytes_per_s


def _narrow_rate(card: GpuSpec, unit: str) -> Rate:
    """Returns the rate of half precision and less: of tensor cores where the card has them."""
    capability = card.compute_capability or (0, 0)
    is_before = card.vendor is Vendor.NVIDIA and capability < _FIRST_WITH_TENSOR_CORES
    peak = _of(card.peak_flops_per_s, unit)
    if card.tensor_cores != 0 and not is_before and peak is not None:
        return Rate(
            flops_per_s=_measured(card, unit) or MEASURED_FRACTION[unit] * peak,
            path=Path.TENSOR_CORES,
        )
    fraction = EMULATED_BF16_FRACTIONS.get(capability, EMULATED_BF16_FRACTION)
    path = Path.EMULATED
    if unit == "fp16":
        fraction = WIDENED_FP16_FRACTION if is_before else TENSORLESS_FP16_FRACTION
        path = Path.CUDA_CORES if is_before else Path.EMULATED
    return Rate(flops_per_s=_measured(card, unit) or fraction * _float32(card), path=path)


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
    peak = _of(card.peak_flops_per_s, unit)
    return None if peak is None else _measured(card, unit) or MEASURED_FRACTION[unit] * peak


def _measured(card: GpuSpec, unit: str) -> float | None:
    found = card.measured_matmul_flops_per_s
    return None if found is None else _of(found, unit)


def _of(rates: ArithmeticRates, unit: str) -> float | None:
    value: float | None = getattr(rates, unit)
    return value
