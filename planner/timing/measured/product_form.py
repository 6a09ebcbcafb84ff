"""The form of a matrix product's time: two roofs, a begin and end, and what a net corrects them by.

In: a Product, widths of elements, figures of a card. Out: Form. Convention: seconds; a card's
latencies go with its clock, so that times of small products compare in cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from planner.timing.kernels import Product

# Rows and columns of the tiles that libraries choose among: the net sees how much of its last wave
# each leaves idle (https://github.com/NVIDIA/cutlass, efficient_gemm.md).
_TILES = ((64, 64), (128, 64), (64, 128), (128, 128), (128, 256), (256, 128))
BEGIN_END_CYCLES = 4000
"""Begin and end of a kernel among others: 1.7 to 2.5 us of the smallest products of the tables."""
# Share of the L2 cache that small products of the tables find their operands in, and the bytes of
# a cycle and multiprocessor from there. Chosen by hand for cards left out; the net learns the rest.
_CACHED_SHARE = 1 / 6
_CACHE_BYTES_PER_CYCLE = 32
_STEP_TILE = 2 * 128 * 128  # FLOPs of one step of k of a tile of 128 x 128
_ROW_BYTES = 16  # that tensor cores read at once
_UNALIGNED_FRACTION = 0.5  # of their rate, with other rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigures:
    """What the form needs of a card."""

    flops_per_s: float
    """Of large products in the precision."""
    bytes_per_s: float
    """Of large copies."""
    peak_flops_per_s: float
    """That no kernel exceeds."""
    peak_bytes_per_s: float
    """Published bandwidth."""
    multiprocessors: int
    """Streaming multiprocessors."""
    l2_bytes: int
    """Of the L2 cache."""
    clock_hz: float
    """Boost clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The two roofs of a product, and the features for the net."""

    compute_s: float
    """FLOPs at the full rate."""
    memory_s: float
    """Each operand and the result moved once."""
    begin_end_s: float
    """Begin and end of the kernel."""
    floor_s: float
    """What no kernel can beat: FLOPs at the peak, bytes beyond the L2 cache at the bandwidth."""
    features: tuple[float, ...]
    """What decides how far the product stays below its roofs; of the order of 1."""

    @property
    def base_s(self) -> float:
        """Returns the time of the roofs alone, which the net's factor multiplies."""
        return max(self.compute_s, self.memory_s) + self.begin_end_s


def moved_bytes(product: Product, in_bytes: float, out_bytes: float) -> float:
    """Returns bytes of the operands and the result, each once; arguments are bytes an element."""
    m, n, k = product.m, product.n, product.k
    return product.batch * ((m * k + k * n) * in_bytes + m * n * out_bytes)


def form_of(
    product: Product, card: CardFigures, *, in_bytes: float, out_bytes: float, on_tensor_cores: bool
) -> Form:
    """Returns the form of a product of elements of `in_bytes`; its result has `out_bytes` for each.

    Tensor cores read rows of 16 bytes: others halve their rate.
    """
    batch, m, n, k = product.batch, product.m, product.n, product.k
    cores = card.multiprocessors
    is_aligned = n * out_bytes % _ROW_BYTES == 0 and k * in_bytes % _ROW_BYTES == 0
    compute_s = 2 * batch * m * n * k / card.flops_per_s
    if on_tensor_cores and not is_aligned:
        compute_s /= _UNALIGNED_FRACTION
    moved = moved_bytes(product, in_bytes, out_bytes)
    memory_s = max(
        moved / (_CACHE_BYTES_PER_CYCLE * cores * card.clock_hz),
        (moved - _CACHED_SHARE * card.l2_bytes) / card.bytes_per_s,
    )
    begin_end_s = BEGIN_END_CYCLES / card.clock_hz
    busy = max(compute_s, memory_s) / begin_end_s
    step = _STEP_TILE * k * cores / card.flops_per_s / begin_end_s
    result = batch * m * n
    features = [
        log2(m) / 8 - 1,
        log2(n) / 8 - 1,
        log2(k * in_bytes / 2) / 8 - 1,
        log2(compute_s * card.bytes_per_s / moved) / 4,
        log2(1 + busy) / 4 - 1,
        log2(moved / card.l2_bytes) / 4,
        log2(step) / 4,
        log2(batch) / 6,
        0.0 if is_aligned else 1.0,
    ]
    for rows, columns in _TILES:
        waves = ceil(batch * ceil(m / rows) * ceil(n / columns) / cores)
        features.append(log2(waves * cores * rows * columns / result) / 2)
    return Form(
        compute_s=compute_s,
        memory_s=memory_s,
        begin_end_s=begin_end_s,
        floor_s=max(
            2 * result * k / card.peak_flops_per_s,
            (moved - card.l2_bytes) / card.peak_bytes_per_s,
        ),
        features=tuple(features),
    )
