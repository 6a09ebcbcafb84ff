"""Times kernels that only stream elements: elementwise, casts, copies, norms and softmax.

In: bytes moved, rows, the card. Out: KernelTime. Convention: seconds; a share is bytes per second
over the published memory bandwidth. The constants in streams.json are written by
`python -m benchmarks.kernels --fit`.

Bytes that fit in the L2 cache move at its rate, if the kernel before left them there. Norms and
softmax read a row once more for each pass over it, as far as the rows that are at work do not fit
in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from math import hypot
from pathlib import Path
from statistics import median
from typing import Any

from planner.hardware.specs import GpuSpec, Vendor
from planner.timing.kernels import KernelKind, Pass
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.rates import issue_rate, memory_rate

FILE = Path(__file__).with_name("streams.json")
# Instructions for each element moved, at most: a cast of half precision to fp8 moves 3 bytes of two
# elements at 0.84 of a B200's bandwidth, in which time its schedulers issue 16 for both
# (aiconfigurator-core 0.12.0, scale_matrix). More would have shown. Powers take about 50: on A100
# 80GB and P100 they reach 0.86 of the others' rate (NeuSight).
INSTRUCTIONS_PER_ELEMENT = 8
# Threads of a block: of layer norm (aten/src/ATen/native/cuda/layer_norm_kernel.cu, 32 x 4); the
# most of softmax, as the tables have them.
_NORM_THREADS = 128
_SOFTMAX_THREADS = 512
_LOADED = 4  # elements that a thread of softmax loads at once
_WARP_COLUMNS = 1024  # a warp keeps so long a row of softmax in registers (PersistentSoftmax.cuh)
# torch 2.14 keeps rows of softmax in shared memory (cunn_SoftMaxForwardSmem), 48 KiB of a block.
KEPT_ROW_BYTES = 48 * 1024
_KINDS = {
    KernelKind.ELEMENTWISE: "elementwise", KernelKind.BROADCAST: "elementwise",
    KernelKind.CAST: "elementwise", KernelKind.COPY: "elementwise",
    KernelKind.RANDOM: "elementwise",
    KernelKind.NORM: "norm", KernelKind.SOFTMAX: "softmax",
}  # fmt: skip
# More, of what no table has: tensors of several shapes, copies of what is not contiguous, backward.
_UNLIKE_SPREAD = 0.15
_UNLIKE = (KernelKind.BROADCAST, KernelKind.COPY, KernelKind.RANDOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The constants."""

    shares: Mapping[str, Mapping[str, float]]
    """By card, then by "elementwise", "norm", "softmax"."""
    capabilities: Mapping[str, tuple[int, int]]
    """Of the cards in `shares`."""
    copy_shares: Mapping[str, float]
    """Of them: share of the bandwidth that planner took a copy to reach, for other cards."""
    fixed_s: Mapping[str, float]
    """Begin and end of a kernel, by card; its median is for the others."""
    cache_rates: Mapping[str, float]
    """Bytes per clock and multiprocessor from L2, by card; their median is for the others."""
    cache_reach: float
    """Bytes that half stay in L2, over its size."""
    cache_power: float
    """How sharply they begin to leave it."""
    row_reach: Mapping[str, float]
    """Bytes of rows at work that half stay, over L2, by "norm" and "softmax"."""
    row_power: Mapping[str, float]
    """How sharply they begin to leave it."""
    spreads: Mapping[str, float]
    """By kind: standard deviation of the logarithm of measured over predicted times."""
    left_out: Mapping[str, float]
    """By kind: the same, with a card left out."""


@cache
def constants() -> Streams:
    """Reads the constants that come with planner."""
    return read_constants(json.loads(FILE.read_text(encoding="utf-8")))


def read_constants(found: Mapping[str, Any]) -> Streams:
    """Returns the constants of a document like streams.json."""
    cards = found["cards"]
    return Streams(
        shares={card: one["shares"] for card, one in cards.items()},
        capabilities={card: tuple(one["capability"]) for card, one in cards.items()},
        copy_shares={card: one["copy_share"] for card, one in cards.items()},
        fixed_s={card: one["fixed_us"] / 1e6 for card, one in cards.items() if "fixed_us" in one},
        cache_rates={c: one["cache_rate"] for c, one in cards.items() if "cache_rate" in one},
        cache_reach=found["cache"]["reach"],
        cache_power=found["cache"]["power"],
        row_reach={kind: one["reach"] for kind, one in found["rows"].items()},
        row_power={kind: one["power"] for kind, one in found["rows"].items()},
        spreads=found["spreads"],
        left_out=found["left_out"],
    )


@lru_cache(maxsize=8192)
def stream_time(
    kind: KernelKind,
    part: Pass,
    card: GpuSpec,
    *,
    moved_bytes: int,
    moved_elements: int = 0,
    columns: int = 0,
    element_bytes: int = 4,
) -> KernelTime | None:
    """Returns the time of one kernel; None: none of its kind was measured.

    Args:
        kind: One of elementwise, broadcast, cast, copy, norm, softmax.
        part: Its pass; a norm's backward is in no table.
        card: The card.
        moved_bytes: Read and written, each tensor once.
        moved_elements: Read and written, one by one.
        columns: Elements of a row of a norm or softmax, over which it reduces; 0: not known.
        element_bytes: Of a row.
    """
    name = _KINDS.get(kind)
    if name is None or card.vendor is not Vendor.NVIDIA:
        return None
    if kind is KernelKind.NORM and part is not Pass.FORWARD:
        return None
    found = constants()
    share, source, spread = share_of(found, card, name)
    if part is not Pass.FORWARD or kind in _UNLIKE:
        spread = hypot(spread, _UNLIKE_SPREAD)
    again = 0.0
    if name == "norm" or (name == "softmax" and columns * element_bytes > KEPT_ROW_BYTES):
        again = read_again(found, name, card, columns=columns, row_bytes=columns * element_bytes)
        if part is Pass.BACKWARD:  # softmax: two of three tensors once more, not one of two twice
            again *= 2 / 3
    memory_s = moved_s(found, card, moved_bytes, again=again, share=share)
    issue_s = INSTRUCTIONS_PER_ELEMENT * moved_elements / issue_rate(card)
    return KernelTime(
        busy_s=max(memory_s, issue_s),
        fixed_s=found.fixed_s.get(card.id) or median(found.fixed_s.values()),
        is_compute_bound=issue_s > memory_s,
        source=source,
        spread=spread,
    )


def share_of(
    found: Streams, card: GpuSpec, name: str, *, without: str | None = None
) -> tuple[float, TimeSource, float]:
    """Returns the share of the bandwidth, its source and its spread, but by the card `without`.

    Another card reaches of the rate of its copies what the measured ones do in the median.
    """
    own = found.shares.get(card.id, {}) if card.id != without else {}
    if name in own:
        return own[name], TimeSource.TABLE, found.spreads[name]
    others = [one for one in found.shares if one != without and name in found.shares[one]]
    copied = memory_rate(card) / card.memory_bandwidth_bytes_per_s
    if "elementwise" in own:
        # The card's own elementwise kernels say more than its copies.
        ratios = [found.shares[one][name] / found.shares[one]["elementwise"] for one in others]
        return own["elementwise"] * median(ratios), TimeSource.RELATED, found.left_out[name]
    ratios = [found.shares[one][name] / found.copy_shares[one] for one in others]
    is_related = any(found.capabilities[one] == card.compute_capability for one in others)
    source = TimeSource.RELATED if is_related else TimeSource.FALLBACK
    return min(1.0, copied * median(ratios)), source, found.left_out[name]


def moved_s(
    found: Streams, card: GpuSpec, moved_bytes: int, *, again: float, share: float
) -> float:
    """Returns the seconds to move bytes once and a part `again` of them once more."""
    clocks = card.streaming_multiprocessors * card.boost_clock_hz
    rate = found.cache_rates.get(card.id) or median(found.cache_rates.values())
    memory_bytes_per_s = share * card.memory_bandwidth_bytes_per_s
    beyond: float = (moved_bytes / (found.cache_reach * card.l2_bytes)) ** found.cache_power
    kept = 1 / (1 + beyond)
    cached_s = moved_bytes / max(rate * clocks, memory_bytes_per_s)
    return kept * cached_s + (1 - kept + again) * moved_bytes / memory_bytes_per_s


def read_again(found: Streams, name: str, card: GpuSpec, *, columns: int, row_bytes: int) -> float:
    """Returns the bytes that forward reads once more, over those it moves: half of them are read.

    A norm goes over its rows twice; softmax three times, but for short rows.
    """
    if not columns or (name == "softmax" and columns <= _WARP_COLUMNS):
        return 0.0
    threads = card.limits.threads_per_sm if card.limits is not None else 2048
    rows = threads / (_NORM_THREADS if name == "norm" else _softmax_threads(columns))
    reach = found.row_reach[name] * card.l2_bytes / card.streaming_multiprocessors
    lost: float = 1 / (1 + (reach / (rows * row_bytes)) ** found.row_power[name])
    return lost * (0.5 if name == "norm" else 1.0)


def _softmax_threads(columns: int) -> int:
    """Returns the threads of a block of softmax: a power of two (SoftMaxForward_getBlockSize)."""
    threads = 32
    while threads < _SOFTMAX_THREADS and 2 * threads < columns / _LOADED:
        threads *= 2
    return threads
