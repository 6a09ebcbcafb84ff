"""Holds the share of a card's rates that each kind of kernel reaches, fitted to published times.

In: efficiency.json, which `python -m benchmarks.throughput --fit` writes. Out: Efficiencies.
Convention: shares of the rates of rates.py; seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("efficiency.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies:
    """The fitted figures. `compute` and `bandwidth` hold shares by the key of a kernel; `tables`
    holds times over those of the tables of measured kernels. `unseen` are keys of kernels that no
    step has: their shares are those of kernels like them.

    `kernel_s` is the card's time for begin and end of a kernel. Bytes that the L2 cache may
    still hold move up to 1 + `cache_gain` times as fast; `cache_reach` times its size is where half
    of that gain is left.
    """

    compute: Mapping[str, float]
    bandwidth: Mapping[str, float]
    tables: Mapping[str, float] = field(default_factory=dict)
    kernel_s: float
    cache_gain: float
    cache_reach: float
    unseen: frozenset[str] = frozenset()
    default_compute: float = 0.7
    default_bandwidth: float = 0.85

    def is_fitted(self, key: str) -> bool:
        """Returns whether a published step has kernels of this key."""
        return key in self.compute and key not in self.unseen

    def roofs_s(self, key: str, compute_s: float, memory_s: float) -> tuple[float, float]:
        """Returns the seconds under each of the two roofs."""
        return (
            compute_s / self.compute.get(key, self.default_compute),
            memory_s / self.bandwidth.get(key, self.default_bandwidth),
        )

    def cached_s(self, moved_bytes: int, *, bandwidth_bytes_per_s: float, l2_bytes: int) -> float:
        """Returns the seconds to move bytes that earlier kernels may have left in the L2 cache."""
        beyond = moved_bytes / (self.cache_reach * l2_bytes)
        gain = 1 + self.cache_gain / (1 + beyond * beyond)
        return moved_bytes / (bandwidth_bytes_per_s * gain)


@cache
def efficiencies() -> Efficiencies:
    """Reads the figures that come with planner."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return Efficiencies(
        compute=found["compute"],
        bandwidth=found["bandwidth"],
        tables=found.get("tables", {}),
        unseen=frozenset(found.get("unseen", ())),
        kernel_s=found["kernel_us"] / 1e6,
        cache_gain=found["cache_gain"],
        cache_reach=found["cache_reach"],
    )
