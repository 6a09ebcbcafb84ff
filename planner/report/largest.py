"""The largest batch and the longest sequence of a card, in words.

In: GpuEstimate. Out: text, "" where nothing was searched.
"""

from __future__ import annotations

from planner.results import GpuEstimate

_NONE = "none, not even 1"


def largest_batch(entry: GpuEstimate) -> str:
    """How many samples fit."""
    if entry.max_batch_size is None:
        return ""
    if entry.max_batch_size == 0:
        return _NONE
    return f"{entry.max_batch_size}{' or more' if entry.max_batch_is_bound else ''}"


def longest_sequence(entry: GpuEstimate) -> str:
    """How many tokens fit at the batch asked for."""
    if entry.max_sequence_length is None:
        return ""
    return str(entry.max_sequence_length) if entry.max_sequence_length else "less than 128"
