"""How much of a card a matrix product keeps busy: tiles that stick out, and a last wave half full.

In: a Product, the number of streaming multiprocessors. Out: a share of the rate of a large product.
Convention: one tile of the result runs on one multiprocessor at a time; a library takes the tile,
and the number of parts to split k into, that are best for the shape.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from planner.performance.kernels import Product

# (rows, columns, share of the full rate): smaller tiles read their operands more often. The sizes
# are those that cuBLAS and CUTLASS offer (https://github.com/NVIDIA/cutlass, efficient_gemm.md).
_TILES = (
    (256, 128, 1.0), (128, 128, 0.95), (128, 64, 0.8), (64, 64, 0.6), (64, 32, 0.4), (32, 32, 0.25)
)  # fmt: skip
_SPLITS = (1, 2, 4, 8, 16, 32)
_LEAST_PART = 256  # of k, worth a tile of its own
_SPLIT_FRACTION = 0.97  # what is left where parts have to be summed
_RAMP = 32  # steps of k that filling and emptying the pipeline of a tile costs


@lru_cache(maxsize=65536)
def busy_fraction(product: Product, multiprocessors: int) -> float:
    """Share of the rate of a large product, above 0 and below 1."""
    best = max(
        _busy(product, multiprocessors, rows, columns) * full
        for width, height, full in _TILES
        for rows, columns in {(width, height), (height, width)}
    )
    return best * product.k / (product.k + _RAMP)


def _busy(product: Product, multiprocessors: int, rows: int, columns: int) -> float:
    down, across = ceil(product.m / rows), ceil(product.n / columns)
    filled = (product.m * product.n) / (down * rows * across * columns)
    tiles = product.batch * down * across
    found = 0.0
    for split in _SPLITS:
        if split > 1 and product.k < split * _LEAST_PART:
            break
        waves = tiles * split / multiprocessors
        full = waves / ceil(waves) * (1.0 if split == 1 else _SPLIT_FRACTION)
        found = max(found, full)
    return filled * found
