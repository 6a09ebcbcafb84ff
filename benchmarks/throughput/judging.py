"""Compares predicted step times with measured ones that were not used to fit the efficiencies.

In: Rows and cases. Out: Judged. Convention: cases are held out, or for development. On the latter,
constants are fitted on one half of the networks (of the rows, if a source has few) and judged on
the other half, and vice versa. Some sources are also judged with constants from all others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmarks.record.rows import half_of
from benchmarks.record.statistics import ErrorStatistics, error_statistics
from benchmarks.throughput.fitting import Parameters, Rows, fit, predicted_s
from benchmarks.throughput.records import Case
from benchmarks.throughput.sources import SOURCES


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Predicted seconds by the number of a case.

    `by_halves`: with constants of the other half; `left_out`: of all other sources; `shipped`: of
    all cases for development. `held_out` are the numbers of the others, which have no half.
    """

    by_halves: dict[int, float]
    left_out: dict[int, float]
    shipped: tuple[float, ...]
    held_out: frozenset[int]
    constants: Parameters


def judge(data: Rows, cases: Sequence[Case], held_out: Collection[str]) -> Judged:
    """Fits on each half, on all without each left-out source, and on all; never on `held_out`."""
    apart = frozenset(number for number, case in enumerate(cases) if case.name in held_out)
    numbers = [number for number in range(len(cases)) if number not in apart]
    halves = [half_of(SOURCES[case.source].halved_by.of(case)) for case in cases]
    by_halves: dict[int, float] = {}
    for half in (0, 1):
        fitted = [number for number in numbers if halves[number] == half]
        judged = [number for number in numbers if halves[number] != half]
        by_halves |= _predicted(data, fitted, judged)
    left_out: dict[int, float] = {}
    for name in (source.name for source in SOURCES.values() if source.left_out):
        fitted = [number for number in numbers if cases[number].source != name]
        judged = [number for number, case in enumerate(cases) if case.source == name]
        left_out |= _predicted(data, fitted, judged)
    every = fit(data, numbers)
    return Judged(
        by_halves=by_halves,
        left_out=left_out,
        shipped=tuple(predicted_s(data, every).tolist()),
        held_out=apart,
        constants=every,
    )


def _predicted(data: Rows, fitted: Sequence[int], judged: Sequence[int]) -> dict[int, float]:
    """Predicts the judged cases, with constants of the fitted ones."""
    if not judged or not fitted:  # possible in a sample
        return {}
    seconds = predicted_s(data, fit(data, fitted)).tolist()
    return {number: seconds[number] for number in judged}


def statistics(pairs: Sequence[tuple[float, float]]) -> ErrorStatistics | None:
    """Computes figures of pairs of predicted and measured seconds; None without any."""
    return error_statistics([predicted / measured - 1 for predicted, measured in pairs])
