"""Times matrix products by tables of measured ones: their roofs times the factor of a small net.

In: a Product, a dtype, a card and its Rate. Out: KernelTime. Convention: products.json holds what
`python -m benchmarks.kernels --fit` fitted: nets, and tokens, which set cards and precisions apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp
from operator import mul
from pathlib import Path as FilePath
from typing import Any

from planner.hardware.specs import GpuSpec, Vendor
from planner.timing.kernels import Product
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.measured.product_form import CardFigures, Form, form_of
from planner.timing.rates import Path, Rate, memory_rate, peak_rate

FILE = FilePath(__file__).with_name("products.json")
# Nets: of tensor cores in 16 bits and TF32, in 8 bits and less, of CUDA cores.
HALF, NARROW, SINGLE = "half", "narrow", "single"
ANY = "*"  # token of a card without a table
FP8, FP8_BLOCK, NVFP4 = "fp8", "fp8 block", "nvfp4"
# Bytes of an element of the operands and of the result; results of narrow ones are in half
# precision. The names with two words have none in torch: block scales, as DeepSeek's.
WIDTHS = {
    "float64": (8, 8), "float32": (4, 4), "float16": (2, 2), "bfloat16": (2, 2),
    "float8_e4m3fn": (1, 2), "float8_e5m2": (1, 2), "float8_e4m3fn block": (1, 2),
    "float4_e2m1fn_x2": (0.5, 2),
}  # fmt: skip
_PARTS = {
    "float8_e4m3fn": FP8, "float8_e5m2": FP8, "float8_e4m3fn block": FP8_BLOCK,
    "float4_e2m1fn_x2": NVFP4,
}  # fmt: skip
_PART = {HALF: "bf16", SINGLE: "fp32"}  # of every other dtype
_LEAST_LOG, _MOST_LOG = -1.5, 3.0  # of the net's factor: no table has more
_WIDE = ("float32", "float16", "bfloat16")  # of which one is like another on the same units
_MOST_FIXED = 0.9  # of the time is begin and end
_WITHOUT_PEAK = 0.8  # of an unknown peak, a large product reaches


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Net:
    """A net of two hidden layers; the last row of each layer's weights is of the output."""

    low: tuple[float, ...]
    """Least value of each feature in the tables: beyond, the net stays as at the edge."""
    high: tuple[float, ...]
    """Greatest value of each feature."""
    layers: tuple[tuple[tuple[tuple[float, ...], float], ...], ...]
    """For each layer, weights and bias of each unit; a token follows the features."""
    tokens: dict[str, tuple[float, ...]]
    """What sets a card and precision apart, by "card part"; ANY for a card without a table."""
    is_after_begin: bool
    """Whether the factor is of the roofs alone, with begin and end added; else of them all."""
    spreads: dict[str, float]
    """Of measured over predicted, by token: held-out shapes, or cards left out for ANY's."""

    def log_factor(self, features: tuple[float, ...], token: tuple[float, ...]) -> float:
        """Returns the logarithm of the time over the time of the roofs."""
        values = [
            least if one < least else most if one > most else one
            for one, least, most in zip(features, self.low, self.high, strict=True)
        ]
        values += token
        for layer in self.layers[:-1]:
            sums = [sum(map(mul, weights, values)) + bias for weights, bias in layer]
            values = [one if one > 0 else 0.0 for one in sums]
        ((weights, bias),) = self.layers[-1]
        found: float = sum(map(mul, weights, values)) + bias
        return min(_MOST_LOG, max(_LEAST_LOG, found))

    def total_s(self, form: Form, token: tuple[float, ...]) -> float:
        """Returns the time of a product of this form."""
        factor = exp(self.log_factor(form.features, token))
        return factor * scaled_s(form, self.is_after_begin) + (
            form.begin_end_s if self.is_after_begin else 0.0
        )


def scaled_s(form: Form, is_after_begin: bool) -> float:
    """Returns the part of the time that a net's factor multiplies."""
    return form.base_s - form.begin_end_s if is_after_begin else form.base_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What sets a card apart, and where it is from."""

    values: tuple[float, ...]
    source: TimeSource
    spread: float


@cache
def nets() -> dict[str, Net]:
    """Returns the fitted nets by name; reads them once."""
    return read_nets(json.loads(FILE.read_text(encoding="utf-8")))


def read_nets(document: dict[str, Any]) -> dict[str, Net]:
    """Returns the nets of a document in the form of products.json."""
    return {
        name: Net(
            low=tuple(one["low"]),
            high=tuple(one["high"]),
            layers=tuple(
                tuple((tuple(row[:-1]), row[-1]) for row in layer) for layer in one["layers"]
            ),
            tokens={token: tuple(values) for token, values in one["tokens"].items()},
            is_after_begin=one["is_after_begin"],
            spreads=one["spreads"],
        )
        for name, one in document.items()
    }


def product_time(product: Product, dtype: str, card: GpuSpec, *, rate: Rate) -> KernelTime | None:
    """Returns the time of a matrix product whose operands are of `dtype` (as in torch.float16).

    None: no form covers the dtype, or the product is empty. `rate` is arithmetic_rate of the card.
    """
    if dtype not in WIDTHS or not (product.batch and product.m and product.n and product.k):
        return None
    return time_by(nets()[net_name(dtype, rate)], product, dtype, card, rate=rate)


def net_name(dtype: str, rate: Rate) -> str:
    """Returns the net of the units that compute."""
    if rate.path not in (Path.TENSOR_CORES, Path.TF32):
        return SINGLE
    return NARROW if dtype in _PARTS else HALF


def time_by(net: Net, product: Product, dtype: str, card: GpuSpec, *, rate: Rate) -> KernelTime:
    """Returns the time of a product, which is not empty, by this net."""
    name = net_name(dtype, rate)
    token = token_of(net, card, _PART.get(name) or _PARTS[dtype])
    figures = _figures(card, dtype, rate)
    total_s, form = _total(net, product, dtype, figures, name != SINGLE, token.values)
    fixed_s = min(form.begin_end_s, _MOST_FIXED * total_s)
    source, spread = token.source, token.spread
    if not _is_measured(dtype, rate.path):
        if dtype not in _WIDE:
            source = TimeSource.FALLBACK
        elif source is TimeSource.TABLE:
            source = TimeSource.RELATED
        spread = max(spread, _left_out(net))
    return KernelTime(
        busy_s=total_s - fixed_s,
        fixed_s=fixed_s,
        is_compute_bound=form.compute_s > form.memory_s,
        source=source,
        spread=spread,
    )


def _is_measured(dtype: str, path: Path) -> bool:
    """Returns whether the tables hold kernels of the dtype by these units."""
    if path is Path.TENSOR_CORES:
        return dtype != "float64"
    return path is Path.CUDA_CORES and dtype == "float32"


@lru_cache(maxsize=65536)
def _total(
    net: Net,
    product: Product,
    dtype: str,
    figures: CardFigures,
    on_tensor_cores: bool,
    token: tuple[float, ...],
) -> tuple[float, Form]:
    """Returns the whole time and its form; no less than the peaks allow."""
    in_bytes, out_bytes = WIDTHS[dtype]
    form = form_of(
        product,
        figures,
        in_bytes=in_bytes,
        out_bytes=out_bytes,
        on_tensor_cores=on_tensor_cores,
    )
    return max(net.total_s(form, token), form.floor_s + form.begin_end_s / 2), form


def form_in(product: Product, dtype: str, card: GpuSpec, rate: Rate) -> Form:
    """Returns the form of a product in a precision of WIDTHS on a card."""
    in_bytes, out_bytes = WIDTHS[dtype]
    return form_of(
        product,
        _figures(card, dtype, rate),
        in_bytes=in_bytes,
        out_bytes=out_bytes,
        on_tensor_cores=net_name(dtype, rate) != SINGLE,
    )


def _figures(card: GpuSpec, dtype: str, rate: Rate) -> CardFigures:
    return CardFigures(
        flops_per_s=rate.flops_per_s,
        bytes_per_s=memory_rate(card),
        peak_flops_per_s=_peak(card, dtype, rate),
        peak_bytes_per_s=card.memory_bandwidth_bytes_per_s,
        multiprocessors=card.streaming_multiprocessors,
        l2_bytes=card.l2_bytes,
        clock_hz=card.boost_clock_hz,
    )


def _peak(card: GpuSpec, dtype: str, rate: Rate) -> float:
    """Returns FLOP/s that no kernel exceeds; a published peak may be below what was measured."""
    return max(
        peak_rate(card, dtype, rate.path) or rate.flops_per_s / _WITHOUT_PEAK, rate.flops_per_s
    )


def token_of(net: Net, card: GpuSpec, part: str) -> Token:
    """Returns the token of a card: its own, or the mean of those of its compute capability.

    Without any it is the one that was fitted to all cards at once.
    """
    own = net.tokens.get(f"{card.id} {part}")
    if own is not None:
        name = f"{card.id} {part}"
        return Token(values=own, source=TimeSource.TABLE, spread=net.spreads[name])
    common = net.tokens[f"{ANY} {part}"]
    spread = net.spreads[f"{ANY} {part}"]
    if card.vendor is Vendor.NVIDIA and card.compute_capability is not None:
        related = net.tokens.get("{}.{} {}".format(*card.compute_capability, part))
        if related is not None:
            return Token(values=related, source=TimeSource.RELATED, spread=spread)
    return Token(values=common, source=TimeSource.FALLBACK, spread=spread)


def _left_out(net: Net) -> float:
    """Returns the greatest spread of cards left out."""
    return max(spread for name, spread in net.spreads.items() if name.startswith(ANY))
