"""The form of the time of one fused attention, as its grid decides it.

In: Form, Work. Out: seconds under both roofs. Convention: 4 FLOPs for each query, key it sees and
element of a head's width; half precision.

A block of the grid takes a tile of queries of one head along all keys they see. So the time is that
of all tiles on all multiprocessors, in waves, or of one tile alone, or of the bytes, whichever is
longest, rounded where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

HALF_BYTES = 2  # of an element


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The constants of one kernel on one card, for one head width."""

    tile: int
    """Queries of a block."""
    share: float
    """FLOP/s of long sequences over the published dense peak of bfloat16."""
    first_keys: float
    """Keys in whose time a block begins and ends."""
    fixed_s: float
    """Begin and end of the engine's call."""
    wave: float
    """Part of the last, incomplete wave of blocks that counts as if it were complete."""
    lone: float
    """Time of a block alone on a multiprocessor over its part where the card is full."""
    bandwidth: float
    """Bytes per second of queries, keys, values and results over the memory bandwidth."""
    power: float
    """Exponent of the sum of the three times: 1 adds them, a great one takes the longest."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted times."""
    is_measured: bool
    """Whether this width and mask was measured on this card; else it follows from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a kernel computes, as it decides its grid."""

    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    width: int
    is_causal: bool
    window: int | None = None

    @property
    def most_keys(self) -> int:
        """Returns the most keys that a query sees."""
        least = self.keys if self.window is None else min(self.window, self.keys)
        return min(least, self.queries) if self.is_causal else least

    @property
    def mean_keys(self) -> float:
        """Returns the keys that a query sees in the mean."""
        most = self.most_keys
        return most - most * (most - 1) / (2 * self.queries) if self.is_causal else most

    @property
    def moved_bytes(self) -> int:
        """Returns the bytes of queries and results, keys and values in half precision."""
        elements = self.queries * self.heads + self.keys * self.key_heads
        return 2 * HALF_BYTES * self.batch * elements * self.width


def roofs_s(
    form: Form, work: Work, *, flops_per_s: float, multiprocessors: int, bytes_per_s: float
) -> tuple[float, float]:
    """Returns the seconds of arithmetic and of memory; `flops_per_s` is the peak."""
    unit_s = 4 * form.tile * work.width / (form.share * flops_per_s / multiprocessors)
    waves = work.batch * work.heads * ceil(work.queries / form.tile) / multiprocessors
    counted = waves + form.wave * (ceil(waves) - waves)
    longest = work.most_keys
    if work.is_causal:
        longest = min(longest + form.tile, work.keys, work.queries)
    together_s = unit_s * (work.mean_keys + form.first_keys) * counted
    alone_s = form.lone * unit_s * (longest + form.first_keys)
    compute_s = _rounded((together_s, alone_s), form.power)
    return compute_s, work.moved_bytes / (form.bandwidth * bytes_per_s)


def busy_s(form: Form, compute_s: float, memory_s: float) -> float:
    """Returns the seconds under both roofs, rounded where they meet."""
    return _rounded((compute_s, memory_s), form.power)


def _rounded(times_s: Sequence[float], power: float) -> float:
    most = max(times_s)
    total: float = sum((one / most) ** power for one in times_s) ** (1 / power)
    return most * total


def read_bytes(decode: Decode, *, heads: int, keys: int, widths: int) -> float:
    """Returns the bytes of keys and values of all sequences' heads, with what they begin with."""
    return HALF_BYTES * heads * (keys + decode.first_keys) * widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """The constants of a kernel for one query of each sequence."""

    share: float
    """Bytes per second over the memory bandwidth."""
    fixed_s: float
    """Begin and end."""
    first_keys: float
    """Keys in whose time the work on one head begins and ends."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted times."""
