"""The time of one kernel on one card, and how far it can be trusted.

In: nothing. Out: KernelTime, TimeSource. Convention: seconds of one launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TimeSource(str, Enum):
    """Where the time of a kernel is from."""

    TABLE = "table"
    """Kernels of this kind were measured on this card."""
    RELATED = "related card"
    """They were measured on other cards of its architecture."""
    FIT = "fit"
    """The share of the card's rates that this kind of kernel reached in published steps."""
    FALLBACK = "fallback"
    """No measurement of this kind or of this architecture: the card's peaks alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """Seconds of one launch of a kernel."""

    busy_s: float
    """Seconds of its work, without its begin and end."""
    fixed_s: float
    """Seconds of its begin and end, which no faster card takes away."""
    is_compute_bound: bool
    """Whether arithmetic bounds it; else memory bandwidth does."""
    source: TimeSource
    """Where the time is from."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted times of such kernels."""

    @property
    def total_s(self) -> float:
        """Returns the seconds from begin to end."""
        return self.busy_s + self.fixed_s
