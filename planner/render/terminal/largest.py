"""The largest batch, the suggested one, the longest sequence and largest image, in words.

In: DeviceEstimate. Out: text, "" where nothing was searched.
"""

from __future__ import annotations

from planner.results.device_estimate import DeviceEstimate
from planner.units import format_bytes

_NONE = "none, not even 1"
_UNCONFIRMED = ", not confirmed"


def largest_batch(entry: DeviceEstimate) -> str:
    """Returns how many samples fit."""
    if entry.max_batch_size is None:
        return ""
    if entry.max_batch_size == 0:
        return _NONE
    return f"{entry.max_batch_size}{' or more' if entry.max_batch_is_bound else ''}"


def largest_batch_in_full(entry: DeviceEstimate) -> str:
    """Returns the same, marked where no run has shown it; never marked at the search's bound."""
    known = entry.max_batch_confirmed is not False or entry.max_batch_is_bound
    return largest_batch(entry) + _UNCONFIRMED * (not known)


def is_confirmed(entry: DeviceEstimate) -> str:
    """Returns whether runs have shown the largest batch: it and the next one were run."""
    if entry.max_batch_size is None:
        return ""
    return "yes" if entry.max_batch_confirmed else "no"


def suggested_batch(entry: DeviceEstimate) -> str:
    """Returns how many samples fit at the upper end of the interval too, and the margin."""
    if entry.suggested_batch_size is None:
        return ""
    if entry.suggested_batch_size == 0:
        return "none"
    kept = entry.suggested_margin_bytes
    margin = "" if kept is None else f", margin {format_bytes(kept)}"
    return f"{entry.suggested_batch_size}{margin}"


def longest_sequence(entry: DeviceEstimate) -> str:
    """Returns how many tokens fit at the requested batch."""
    if entry.max_sequence_length is None:
        return ""
    if not entry.max_sequence_length:
        return "less than 128"
    return f"{entry.max_sequence_length}{_UNCONFIRMED * (entry.max_sequence_confirmed is False)}"


def largest_image(entry: DeviceEstimate) -> str:
    """Returns height x width of the largest image that fits at the requested batch."""
    if entry.max_image is None:
        return ""
    if not entry.max_image[0]:
        return "none"
    size = "x".join(map(str, entry.max_image))
    return f"{size}{_UNCONFIRMED * (entry.max_image_confirmed is False)}"


def most_frames(entry: DeviceEstimate) -> str:
    """Returns how many frames of a clip fit at the requested batch."""
    if entry.max_frames is None:
        return ""
    if not entry.max_frames:
        return _NONE
    return f"{entry.max_frames}{_UNCONFIRMED * (entry.max_frames_confirmed is False)}"
