"""Puts the figures of a result into words that are no surer than the figures.

In: DeviceEstimate, numbers, texts. Out: text, "" where there is nothing to say. Convention: where
the interval reaches over the limit, or is not known, it is "probably".
"""

from __future__ import annotations

from planner.config.step import Mode, StepConfig
from planner.results.device_estimate import DeviceEstimate
from planner.units import format_bytes, format_duration, format_percent, format_range

STEPS = {Mode.TRAIN: "training", Mode.INFER: "inference"}


def printable(text: str) -> str:
    """Returns the text with an escape for every character that cannot be printed."""
    return text if text.isprintable() else repr(text)[1:-1]


def step_words(config: StepConfig) -> str:
    """Returns `training with batch 16`, or with accumulation `training with batch 16 x 4`."""
    times = f" x {config.accumulate}" if config.accumulate > 1 else ""
    return f"{STEPS[config.mode]} with batch {config.batch_size}{times}"


def fit_words(entry: DeviceEstimate, *, is_drawn: bool) -> str:
    """Returns whether it fits, and how sure that is; `is_drawn`: drawn numbers decided sizes."""
    word = "fits" if entry.fits else "does not fit"
    return word if entry.is_sure and not is_drawn else f"probably {word}"


def total_words(entry: DeviceEstimate) -> str:
    """Returns device total and usable memory, and the memory that is kept free."""
    total, usable = map(format_bytes, (entry.device_total_bytes, entry.usable_memory_bytes))
    free = f", {format_bytes(entry.reserve_bytes)} kept free" if entry.reserve_bytes else ""
    return f"{total} of {usable}{free}"


def interval_words(entry: DeviceEstimate) -> str:
    """Returns the interval of the device total and its share of cases, or that it is not known."""
    interval = entry.device_total_interval_bytes
    if interval is None:
        return "interval not known"
    low, high = map(format_bytes, interval)
    covered = entry.interval_coverage
    return f"{low} to {high}" + (
        "" if covered is None else f" in {format_percent(covered, 1)} of cases"
    )


def largest_words(entry: DeviceEstimate) -> str:
    """Returns the largest batch, and whether runs have shown it; "" where it was not searched."""
    if entry.max_batch_size is None:
        return ""
    if entry.max_batch_size == 0:
        return "none, not even 1"
    if entry.max_batch_is_bound:
        return f"{entry.max_batch_size} or more"
    unknown = ", not confirmed" if entry.max_batch_confirmed is False else ""
    return f"{entry.max_batch_size}{unknown}"


def time_words(entry: DeviceEstimate) -> str:
    """Returns the step time with its interval; "" where the operators could not be counted."""
    time = entry.time
    if time is None:
        return ""
    interval = "interval not known"
    if time.interval_s is not None:
        interval = " to ".join(map(format_duration, time.interval_s))
        if time.interval_coverage is not None:
            interval += f" in {format_percent(time.interval_coverage, 1)} of cases"
    return f"{format_duration(time.step_s)} ({interval})" + ("" if entry.fits else ", if it fitted")


def range_words(ends: tuple[float, float] | None, unit: str) -> str:
    """Returns both ends with the unit; "" where they are not known."""
    return "" if ends is None else format_range(ends, unit)
