"""Prints the runs of a source that is judged figure by figure, and the medians of their errors.

In: Judged of the source. Out: lines. Convention: GiB; signed relative errors, medians without sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from benchmarks.accuracy.records import Judged, Quantity
from planner.units import GIB

# Digits of GiB, and of per cent; peak allocated is met more closely.
_DIGITS = {Quantity.PEAK_ALLOCATED: 4, Quantity.PEAK_ACTIVE: 3, Quantity.PEAK_RESERVED: 3}


def lines(judged: Iterable[Judged]) -> Iterator[str]:
    """Yields a head, a line for each run, and the medians."""
    runs: dict[str, dict[Quantity, Judged]] = {}
    for one in judged:
        runs.setdefault(one.result.case.run, {})[one.result.case.quantity] = one
    published = {quantity for figures in runs.values() for quantity in figures}
    names = [name for name in _DIGITS if name in published]
    heads = [(name.value.removeprefix("peak "), "measured", "error") for name in names]
    yield _line("case", *(cell for group in heads for cell in group))
    for run, figures in runs.items():
        yield _line(run, *(cell for name in names for cell in _cells(figures.get(name), name)))
    yield _line("median, without sign", *(c for name in names for c in _median(runs, name)))


def _cells(one: Judged | None, quantity: Quantity) -> tuple[str, str, str]:
    if one is None:  # not published
        return ("", "", "")
    if one.error is None or one.predicted_bytes is None:
        return ("", "", "not run")
    measured, digits = one.result.case.measured_bytes, _DIGITS[quantity]
    assert measured is not None
    return (
        f"{one.predicted_bytes / GIB:.{digits}f}",
        f"{measured / GIB:.{digits}f}",
        f"{one.error:+.{digits}%}",
    )


def _median(runs: dict[str, dict[Quantity, Judged]], quantity: Quantity) -> tuple[str, str, str]:
    found = [figures[quantity].error for figures in runs.values() if quantity in figures]
    errors = [abs(error) for error in found if error is not None]
    return ("", "", f"{median(errors):.{_DIGITS[quantity]}%}" if errors else "")


def _line(case: str, *cells: str) -> str:
    return f"{case:44}" + "".join(f"{cell:>11}" for cell in cells)
