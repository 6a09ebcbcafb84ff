"""The differences of two results on one page.

In: two results. Out: rows of texts: figure, first, second, difference. Convention: second - first;
only figures that both have. Two Estimates are compared by their first cards.
"""

from __future__ import annotations

from planner.results.estimate import Estimate
from planner.results.result import Result
from planner.units import format_bytes, format_duration, format_percent


def differences(one: Result, other: Result) -> list[tuple[str, str, str, str]]:
    """Returns the rows of the table on top; none where the results have no figures in common."""
    if not isinstance(one, Estimate) or not isinstance(other, Estimate):
        return []
    first, second = one.gpus[0], other.gpus[0]
    rows = [("Card", first.name, second.name, "")]
    rows += [("Batch", str(one.config.batch_size), str(other.config.batch_size), "")]
    for label, name in (
        ("Device total", "device_total_bytes"),
        ("Peak allocated", "peak_allocated_bytes"),
        ("Peak reserved", "peak_reserved_bytes"),
        ("Usable memory", "usable_memory_bytes"),
    ):
        before, after = getattr(first, name), getattr(second, name)
        change = f"{'+' if after > before else ''}{format_bytes(after - before)}"
        rows.append((label, format_bytes(before), format_bytes(after),
                     _change(change, before, after)))  # fmt: skip
    rows.append(("Fits", _yes(first.fits), _yes(second.fits), ""))
    if first.max_batch_size is not None and second.max_batch_size is not None:
        before, after = first.max_batch_size, second.max_batch_size
        rows.append(("Largest batch", _at_least(before, is_bound=first.max_batch_is_bound),
                     _at_least(after, is_bound=second.max_batch_is_bound),
                     f"{after - before:+d}"))  # fmt: skip
    if first.time is not None and second.time is not None:
        was, now = first.time.step_s, second.time.step_s
        sign = "-" if now < was else "+"
        rows.append(("Step time", format_duration(was), format_duration(now),
                     _change(f"{sign}{format_duration(abs(now - was))}", was, now)))  # fmt: skip
    return rows


def _change(words: str, before: float, after: float) -> str:
    if before == after:
        return "none"
    if not before:
        return words
    sign = "-" if after < before else "+"
    return f"{words} ({sign}{format_percent(abs(after - before), before)})"


def _yes(fits: bool) -> str:
    return "yes" if fits else "no"


def _at_least(batch_size: int, *, is_bound: bool) -> str:
    return f"{batch_size} or more" if is_bound else str(batch_size)
