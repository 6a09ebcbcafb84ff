"""What a card's arithmetic units and memory reach: the two roofs.

In: GpuSpec, a dtype, whether TF32 is allowed. Out: Rate; bytes per second. Convention: FLOP/s and
bytes/s of large, well-shaped kernels; what shapes and kinds of kernels take off is not in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.hardware.specs import ArithmeticRates, GpuSpec, InlineEcc


class Path(str, Enum):
    """Which units compute."""

    TENSOR_CORES = "tensor cores"
    TF32 = "tensor cores in TF32"
    CUDA_CORES = "CUDA cores"
    EMULATED = "emulated on CUDA cores"  # bfloat16 before compute capability 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """FLOP/s that a large matrix product reaches, and by which units."""

    flops_per_s: float
    path: Path


# Of the peak, where no large product was measured on the card: the medians over the cards of the
# database that have both figures (tests/unit/performance/test_rates.py computes them anew).
MEASURED_FRACTION = {"fp64": 0.85, "fp32": 0.70, "tf32": 0.90, "fp16": 0.80, "bf16": 0.80}
# bfloat16 without hardware, against float32 as measured: T4 2.3 of 4.4, V100 10.3 of 14.1, RTX 2080
# Ti 7.3 of 13.0, P100 6.1 of 8.6 TFLOP/s (https://github.com/zzc0721/torch-performance-test-data).
EMULATED_BF16_FRACTION = 0.62
_HALF = {"float16": "fp16", "bfloat16": "bf16"}
# Of the memory bandwidth, what large copies on the card reach, by type of memory. p2pBandwidth-
# LatencyTest of NVIDIA's samples, within one card: RTX 3090 838 of 936 GB/s
# (https://github.com/NVIDIA/nccl/issues/1127), RTX 4090 918 to 927 of 1008 and RTX 5090 1520 to
# 1553 of 1792 (https://github.com/tinygrad/open-gpu-kernel-modules/issues/6 and
# https://github.com/aikitoria/open-gpu-kernel-modules/issues/9), H100 2959 of 3350
# (https://github.com/NVIDIA/cuda-samples/issues/392). A800 80GB 1727 of 1935, elementwise in torch
# (https://github.com/mli/transformers-benchmarks/issues/4). bandwidthTest: V100 713 of 900, T4 234
# of 320, RTX 2080 Ti 524 of 616 (https://github.com/geoffxy/habitat).
_BANDWIDTH_FRACTIONS = {
    "HBM2": 0.79, "HBM2e": 0.89, "HBM3": 0.88, "HBM3e": 0.88, "GDDR6X": 0.90, "GDDR7": 0.86,
    "GDDR6": 0.85,
}  # fmt: skip
_BANDWIDTH_FRACTION_ECC = 0.73  # with error correction in the card's own memory, as on the T4
_BANDWIDTH_FRACTION = 0.8  # of a type that nobody measured


def arithmetic_rate(card: GpuSpec, dtype: str, *, tf32: bool) -> Rate:
    """What a large matrix product of `dtype` (as in torch.float16) reaches on the card.

    `tf32` is whether float32 operands may be rounded to TF32. Integers go as float32 does.
    """
    if dtype in _HALF:
        found = _reached(card, _HALF[dtype])
        if found is not None:
            has_cores = bool(card.tensor_cores) or card.cuda_cores is None
            return Rate(flops_per_s=found, path=Path.TENSOR_CORES if has_cores else Path.CUDA_CORES)
        plain = _required(card, "fp32")
        return Rate(flops_per_s=EMULATED_BF16_FRACTION * plain, path=Path.EMULATED)
    if dtype in ("float64", "complex128"):
        return Rate(flops_per_s=_required(card, "fp64"), path=Path.CUDA_CORES)
    rounded = _reached(card, "tf32") if tf32 else None
    if rounded is not None:
        return Rate(flops_per_s=rounded, path=Path.TF32)
    return Rate(flops_per_s=_required(card, "fp32"), path=Path.CUDA_CORES)


def issue_rate(card: GpuSpec) -> float:
    """Instructions of single threads per second: four schedulers of 32 threads on each SM.

    From Volta on (https://docs.nvidia.com/cuda/cuda-c-programming-guide, Compute Capabilities).
    """
    return 4 * 32 * card.streaming_multiprocessors * card.boost_clock_hz


def memory_rate(card: GpuSpec) -> float:
    """Bytes per second that a large copy reaches."""
    fraction = _BANDWIDTH_FRACTIONS.get(card.memory_type, _BANDWIDTH_FRACTION)
    if card.inline_ecc is InlineEcc.ENABLED:
        fraction = _BANDWIDTH_FRACTION_ECC
    return fraction * card.memory_bandwidth_bytes_per_s


def _reached(card: GpuSpec, unit: str) -> float | None:
    """Measured on this card, else a share of its peak; None where it has no such units."""
    peak = _of(card.peak_flops_per_s, unit)
    if peak is None:
        return None
    measured = card.measured_matmul_flops_per_s
    found = None if measured is None else _of(measured, unit)
    return MEASURED_FRACTION[unit] * peak if found is None else found


def _required(card: GpuSpec, unit: str) -> float:
    """As above; cards that publish no such peak do it in software, an eighth of float32's."""
    found = _reached(card, unit)
    if found is not None:
        return found
    plain = _reached(card, "fp32")
    return (plain or card.cuda_cores or 1) / 8


def _of(rates: ArithmeticRates, unit: str) -> float | None:
    value: float | None = getattr(rates, unit)
    return value
