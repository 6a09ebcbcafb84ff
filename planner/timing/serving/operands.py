"""Times a matrix product of an engine that serves: its format, on this card.

In: ServedProduct, rows, a card. Out: Timed. Convention: the tables of measured kernels are those of
engines that serve, in CUDA graphs. Where a card has no units for a format, or a format is of the
weights alone, the engine reads few bits and multiplies in 16 (Marlin's kernels).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import hypot

from planner.hardware.specs import GpuSpec
from planner.timing.kernels import Product
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.measured.products import product_time
from planner.timing.rates import Path, Rate, arithmetic_rate, memory_rate
from planner.timing.serving.model_products import ServedProduct

_FP8, _FP4 = "float8_e4m3fn", "float4_e2m1fn_x2"
_FP8_CAPABILITY, _FP4_CAPABILITY, _BFLOAT16_CAPABILITY = (8, 9), (10, 0), (8, 0)
# Of a product whose weights are unpacked to 16 bits: over the rate and the bandwidth of one in 16
# bits. Of 4-bit weights in groups of 128 on an A100, by TensorRT-LLM 1.0.0: 0.9 of the rate above
# 1,024 rows, 0.4 to 0.5 of the bandwidth below 64 rows (aiconfigurator-core 0.12.0, gemm_perf,
# int4_wo); Marlin's kernels, which vLLM takes, are said to reach 0.97 of it up to 16 rows
# (arXiv 2408.11743, figure 1). Between the two:
UNPACKED_RATE, UNPACKED_BANDWIDTH = 0.85, 0.75
_UNPACKED_SPREAD = 0.3
# Of experts, over one product as wide as all that are touched: vLLM 0.24's fused kernels on H100,
# L40S and B200, A100 by 0.14 (moe_perf of the same: medians 0.95 to 1.4 up to 512 tokens, 1.1 to
# 2.2 above; bf16, fp8 with block scales, nvfp4).
_FEW_TOKENS, _EXPERTS_FEW, _EXPERTS_MANY, _EXPERTS_SPREAD = 512, 1.1, 1.5, 0.3
_FALLBACK_SHARE = 0.7  # of the peak rates, where no table covers a product
_LEAST_K = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Seconds of kernels, and how far they are trusted."""

    seconds: float
    source: TimeSource
    spread: float
    """Standard deviation of the logarithm of measured over predicted times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """How a card multiplies a format: the dtype of the product, and the bits that are read."""

    dtype: str
    bits: float
    is_unpacked: bool


def half_dtype(card: GpuSpec) -> str:
    """Returns the dtype of 16 bits in which engines serve on this card."""
    capability = card.compute_capability or (0, 0)
    return "bfloat16" if capability >= _BFLOAT16_CAPABILITY else "float16"


def operands_of(format_name: str, bits: float, card: GpuSpec) -> Operands:
    """Returns the operands of weights of so many bits in a format, on this card."""
    capability = card.compute_capability or (0, 0)
    half = half_dtype(card)
    if bits >= 16:
        return Operands(dtype=half, bits=16.0, is_unpacked=False)
    has_fp8 = capability >= _FP8_CAPABILITY
    if format_name == "nvfp4" and bits < 8 and capability >= _FP4_CAPABILITY:
        return Operands(dtype=_FP4, bits=bits, is_unpacked=False)
    if format_name in ("fp8", "nvfp4") and bits >= 8 and has_fp8:
        return Operands(dtype=_FP8, bits=bits, is_unpacked=False)
    return Operands(dtype=half, bits=bits, is_unpacked=True)


def product_rate(dtype: str, card: GpuSpec) -> Rate:
    """Returns the rate of large products; of NVFP4 twice that of FP8, as in the tables."""
    if dtype == _FP4:
        return Rate(
            flops_per_s=2 * arithmetic_rate(card, _FP8, tf32=False).flops_per_s,
            path=Path.TENSOR_CORES,
        )
    return arithmetic_rate(card, dtype, tf32=False, is_product=True)


def served_product_time(
    product: ServedProduct, rows: float, format_name: str, card: GpuSpec
) -> Timed:
    """Returns the time of one call of a product with so many rows of tokens, all experts together.

    With experts each token takes its own: the weights that are touched are read once, and each has
    its part of the rows.
    """
    operands = operands_of(format_name, product.bits, card)
    return _time(max(1, round(rows)), product.n, product.k, operands, card)


def expert_product_time(
    product: ServedProduct, rows: float, per_token: int, format_name: str, card: GpuSpec
) -> Timed:
    """Returns the time of a product by chosen experts, by that of one as wide as all touched.

    Tokens choose alike and independently, so that an expert is left out by a share
    (1 - per_token / experts) ** rows of all steps.
    """
    touched = product.experts * (1 - (1 - per_token / product.experts) ** rows)
    each = rows * per_token / touched
    operands = operands_of(format_name, product.bits, card)
    found = _time(max(1, round(each)), round(touched * product.n), product.k, operands, card)
    factor = _EXPERTS_FEW if rows <= _FEW_TOKENS else _EXPERTS_MANY
    return Timed(
        seconds=factor * found.seconds,
        source=found.source,
        spread=hypot(found.spread, _EXPERTS_SPREAD),
    )


@lru_cache(maxsize=65536)
def _time(m: int, n: int, k: int, operands: Operands, card: GpuSpec) -> Timed:
    whole = _table_time(m, n, k, operands.dtype, card)
    if not operands.is_unpacked:
        return whole
    few = _table_time(m, n, max(_LEAST_K, round(k * operands.bits / 16)), operands.dtype, card)
    rate = product_rate(operands.dtype, card).flops_per_s
    seconds = max(few.seconds / UNPACKED_BANDWIDTH, 2 * m * n * k / (UNPACKED_RATE * rate))
    return Timed(
        seconds=seconds,
        source=TimeSource.RELATED if whole.source is TimeSource.TABLE else whole.source,
        spread=hypot(whole.spread, _UNPACKED_SPREAD),
    )


def _table_time(m: int, n: int, k: int, dtype: str, card: GpuSpec) -> Timed:
    rate = product_rate(dtype, card)
    found = product_time(Product(batch=1, m=m, n=n, k=k), dtype, card, rate=rate)
    if found is None:
        moved = 2 * (m * k + k * n + m * n)
        seconds = max(2 * m * n * k / rate.flops_per_s, moved / memory_rate(card))
        return Timed(seconds=seconds / _FALLBACK_SHARE, source=TimeSource.FALLBACK, spread=0.4)
    return Timed(seconds=found.total_s, source=found.source, spread=found.spread)
