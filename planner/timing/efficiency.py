"""Which share of a card's rates kernels of each kind reach: found by fits to published step times.

In: efficiency.json, which `python -m benchmarks.throughput --fit` writes. Out: Efficiencies.
Convention: shares of the rates of rates.py; seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("efficiency.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpread:
    """Measured over predicted step time lies from `low` to `high` in a share `coverage` of cases.

    `basis` says which cases.
    """

    low: float
    high: float
    coverage: float
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies:
    """`compute` and `bandwidth` hold shares by the key of a kernel.

    `kernel_s` is what begin and end of a kernel cost the card, `launch_s` what one operator costs
    the CPU of the measurements. Of what fits into the L2 cache `cache_reach` times, reads and
    writes go up to 1 + `cache_gain` times as fast.
    """

    compute: Mapping[str, float]
    bandwidth: Mapping[str, float]
    kernel_s: float
    launch_s: float
    cache_gain: float
    cache_reach: float
    default_compute: float = 0.7
    default_bandwidth: float = 0.85
    training: TimeSpread | None = None
    inference: TimeSpread | None = None

    def spread(self, *, is_training: bool) -> TimeSpread | None:
        """How far measured times were from predicted ones; None before anything was judged."""
        return self.training if is_training else self.inference

    def roofs_s(self, key: str, compute_s: float, memory_s: float) -> tuple[float, float]:
        """Seconds under each of the two roofs."""
        return (
            compute_s / self.compute.get(key, self.default_compute),
            memory_s / self.bandwidth.get(key, self.default_bandwidth),
        )

    def cached_s(self, moved_bytes: int, *, bandwidth_bytes_per_s: float, l2_bytes: int) -> float:
        """Seconds to move bytes that the kernels before may have left in the L2 cache."""
        beyond = moved_bytes / (self.cache_reach * l2_bytes)
        gain = 1 + self.cache_gain / (1 + beyond * beyond)
        return moved_bytes / (bandwidth_bytes_per_s * gain)


@cache
def efficiencies() -> Efficiencies:
    """Those that come with planner."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return Efficiencies(
        compute=found["compute"],
        bandwidth=found["bandwidth"],
        kernel_s=found["kernel_us"] / 1e6,
        launch_s=found["launch_us"] / 1e6,
        cache_gain=found["cache_gain"],
        cache_reach=found["cache_reach"],
        training=_spread(found.get("training")),
        inference=_spread(found.get("inference")),
    )


def _spread(found: dict[str, Any] | None) -> TimeSpread | None:
    return None if found is None else TimeSpread(**found)
