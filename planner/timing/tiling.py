"""Times a matrix product that is bound by arithmetic: tiles, waves, ramps.

In: a Product, the FLOP/s of large products, the number of streaming multiprocessors. Out: seconds.
Convention: one tile of the result runs on one multiprocessor at a time; a library chooses the tile
and the number of parts of k that are the fastest for the shape.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from planner.timing.kernels import Product

# (rows, columns, share of the full rate): smaller tiles read their operands more often. The sizes
# are those that cuBLAS and CUTLASS offer (https://github.com/NVIDIA/cutlass, efficient_gemm.md).
_TILES = (
    (256, 128, 1.0), (128, 128, 0.97), (128, 64, 0.85), (64, 64, 0.7), (64, 32, 0.5), (32, 32, 0.3)
)  # fmt: skip
_SPLITS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LEAST_PART = 256  # of k: a smaller part gets no tile of its own
# Time to fill and empty the pipeline of a tile: some hundred cycles of latency before the first
# product and for writing the result, whatever the card.
_RAMP_S = 0.3e-6


@lru_cache(maxsize=65536)
def product_s(product: Product, flops_per_s: float, multiprocessors: int) -> float:
    """Returns the seconds of the fastest choice of tile and split."""
    of_one = flops_per_s / multiprocessors
    return min(
        _tiled_s(product, of_one, multiprocessors, rows, columns, share)
        for width, height, share in _TILES
        for rows, columns in {(width, height), (height, width)}
    )


def _tiled_s(
    product: Product, of_one: float, multiprocessors: int, rows: int, columns: int, share: float
) -> float:
    tiles = product.batch * ceil(product.m / rows) * ceil(product.n / columns)
    step_s = 2 * rows * columns / (of_one * share)  # of one step of k
    found = float("inf")
    for split in _SPLITS:
        if split > 1 and product.k < split * _LEAST_PART:
            break
        waves = ceil(tiles * split / multiprocessors)
        found = min(found, waves * (step_s * product.k / split + _RAMP_S))
    return found
