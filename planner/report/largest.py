"""The largest batch, the suggested one and the longest sequence of a card, in words.

In: GpuEstimate. Out: text, "" where nothing was searched.
"""

from __future__ import annotations

from planner.gpu_estimate import GpuEstimate
from planner.units import format_bytes

_NONE = "none, not even 1"


def largest_batch(entry: GpuEstimate) -> str:
    """How many samples fit."""
    if entry.max_batch_size is None:
        return ""
    if entry.max_batch_size == 0:
        return _NONE
    return f"{entry.max_batch_size}{' or more' if entry.max_batch_is_bound else ''}"


def suggested_batch(entry: GpuEstimate) -> str:
    """How many samples fit at the upper end of the interval too, and the margin to the largest."""
    if entry.suggested_batch_size is None:
        return ""
    if entry.suggested_batch_size == 0:
        return "none"
    kept = entry.suggested_margin_bytes
    margin = "" if kept is None else f", margin {format_bytes(kept)}"
    return f"{entry.suggested_batch_size}{margin}"


def longest_sequence(entry: GpuEstimate) -> str:
    """How many tokens fit at the batch asked for."""
    if entry.max_sequence_length is None:
        return ""
    return str(entry.max_sequence_length) if entry.max_sequence_length else "less than 128"
