"""Reads the tables of matrix products, one for each card and precision.

In: aiconfigurator-core's parquet, NeuSight's files. Out: Tables. Convention: seconds of one kernel;
bf16 of several engines is their median at one level, narrow precisions are the fastest engine's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TypeAlias

from benchmarks.kernels import aiconfigurator, neusight
from benchmarks.kernels.records import card_named, is_held_out
from planner.hardware.specs import GpuSpec
from planner.timing.kernels import Product
from planner.timing.rates import Path, Rate, arithmetic_rate

Shape: TypeAlias = tuple[int, int, int]
# gemm_dtype of the package to (part of the net's tokens, dtype of product_time).
_PARTS = {
    "bfloat16": ("bf16", "bfloat16"),
    "fp8": ("fp8", "float8_e4m3fn"),
    "fp8_block": ("fp8 block", "float8_e4m3fn block"),
    "nvfp4": ("nvfp4", "float4_e2m1fn_x2"),
}
_OVER_FP8 = 2  # the peak of nvfp4; the database of cards has none
_OLD = {("h100_sxm", "sglang", "0.5.6.post2")}  # a later version of the same engine is there
# Left out: engines with few of the shapes of a card and precision, and those that take this many
# times as long as the fastest in the median. vLLM's block scales take 2.6 to 12 times as long.
_LEAST_SHARE = 0.1
_MOST_TIMES = 2
# Shorter calls of NeuSight's waited for the CPU that issued them: 24 us on an H100 and 34 to 79 on
# others, whatever the shape.
_LEAST_S = 100e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Measured products of one card in one precision."""

    card: GpuSpec
    """Its record."""
    part: str
    """Precision, as in the net's tokens."""
    dtype: str
    """As product_time takes it."""
    rate: Rate
    """Of large products, as product_time takes it."""
    products: tuple[Product, ...]
    """Shapes."""
    seconds: tuple[float, ...]
    """Measured, one for each shape."""

    @property
    def token(self) -> str:
        """Returns the name of its token."""
        return f"{self.card.id} {self.part}"


@lru_cache(maxsize=1 << 17)
def held_out(product: Product) -> bool:
    """Returns whether a shape judges."""
    return is_held_out(product.batch, product.m, product.n, product.k)


def read_tensor_cores() -> dict[bool, tuple[Table, ...]]:
    """Reads the products of tensor cores, by whether they are of 8 bits or less.

    Raises:
        MissingTablesError: they are not installed.
    """
    found = []
    for folder, card_id in aiconfigurator.CARDS.items():
        engines = _engines(folder)
        for name in _PARTS:
            if engines[name]:
                found.append(_tensor_core_table(card_id, name, engines[name]))
    return {
        is_narrow: tuple(one for one in found if (one.part != "bf16") is is_narrow)
        for is_narrow in (False, True)
    }


def _engines(folder: str) -> Mapping[str, list[dict[Shape, float]]]:
    """Returns seconds by shape of each engine, by precision."""
    found: defaultdict[str, list[dict[Shape, float]]] = defaultdict(list)
    for table in aiconfigurator.tables(folder, "gemm"):
        if (folder, table.engine, table.version) in _OLD:
            continue
        parts: dict[str, dict[Shape, float]] = {}
        columns = table.columns
        for dtype, m, n, k, milliseconds in zip(
            *(columns[name] for name in ("gemm_dtype", "m", "n", "k", "latency")), strict=True
        ):
            parts.setdefault(dtype, {})[m, n, k] = milliseconds / 1e3
        for name, seconds in parts.items():
            found[name].append(seconds)
    return defaultdict(list, {name: _sound(engines) for name, engines in found.items()})


def _sound(engines: list[dict[Shape, float]]) -> list[dict[Shape, float]]:
    """Returns the engines that have many shapes and are not many times slower than another."""
    most = max(map(len, engines))
    many = [one for one in engines if len(one) > _LEAST_SHARE * most]
    common = set.intersection(*map(set, many))
    ratios = [
        median(one[shape] / min(other[shape] for other in many) for shape in common) for one in many
    ]
    return [one for one, ratio in zip(many, ratios, strict=True) if ratio < _MOST_TIMES]


def _tensor_core_table(card_id: str, name: str, engines: list[dict[Shape, float]]) -> Table:
    card = card_named(card_id)
    part, dtype = _PARTS[name]
    seconds = at_one_level(engines) if name == "bfloat16" else fastest(engines)
    return Table(
        card=card,
        part=part,
        dtype=dtype,
        rate=rate_of(card, dtype),
        products=tuple(Product(batch=1, m=m, n=n, k=k) for m, n, k in seconds),
        seconds=tuple(seconds.values()),
    )


def rate_of(card: GpuSpec, dtype: str) -> Rate:
    """Returns the rate of large products of a precision, also of those without a dtype in torch."""
    if dtype == "float4_e2m1fn_x2":
        fp8 = arithmetic_rate(card, "float8_e4m3fn", tf32=False, is_product=True)
        return Rate(flops_per_s=_OVER_FP8 * fp8.flops_per_s, path=Path.TENSOR_CORES)
    return arithmetic_rate(card, dtype.split()[0], tf32=False, is_product=True)


def at_one_level(engines: Iterable[Mapping[Shape, float]]) -> dict[Shape, float]:
    """Returns the median of engines for each shape, each engine moved to the level of all.

    The level is the median ratio to the engines' geometric mean over the shapes that all have: all
    call the same library, and differ by the clock of the card and the version.
    """
    engines = list(engines)
    common = set.intersection(*map(set, engines))
    means = {
        shape: math.fsum(math.log(one[shape]) for one in engines) / len(engines) for shape in common
    }
    levels = [
        median(math.log(one[shape]) - means[shape] for shape in common) if common else 0.0
        for one in engines
    ]
    return {
        shape: math.exp(
            median(
                math.log(one[shape]) - level
                for one, level in zip(engines, levels, strict=True)
                if shape in one
            )
        )
        for shape in sorted(set().union(*engines))
    }


def fastest(engines: Iterable[Mapping[Shape, float]]) -> dict[Shape, float]:
    """Returns the least time for each shape: some engines' times hold the cast of the operands."""
    engines = list(engines)
    return {
        shape: min(one[shape] for one in engines if shape in one)
        for shape in sorted(set().union(*engines))
    }


def read_single() -> tuple[Table, ...]:
    """Reads the float32 products of CUDA cores."""
    found: dict[tuple[str, str], dict[Product, list[float]]] = {}
    for name in ("linear", "bmm"):
        for row in neusight.rows(neusight.FOLDER / f"{name}.csv.gz"):
            batch, m, n, k = (int(row[letter]) for letter in "BMNK")
            if name == "linear":
                batch, m = 1, batch * m
            product = Product(batch=batch, m=m, n=n, k=k)
            if float(row["measured_s"]) >= _LEAST_S:
                seconds = found.setdefault((row["card"], name), {})
                seconds.setdefault(product, []).append(float(row["measured_s"]))
    cards = {card_id: card_named(card_id) for card_id, _ in found}
    return tuple(
        Table(
            card=cards[card_id],
            part="fp32" if name == "linear" else "fp32 batched",
            dtype="float32",
            rate=arithmetic_rate(cards[card_id], "float32", tf32=False, is_product=True),
            products=tuple(seconds),
            seconds=tuple(median(one) for one in seconds.values()),
        )
        for (card_id, name), seconds in sorted(found.items())
    )
