"""Judges counted steps with the constants that planner ships, without a fit.

In: counted cases. Out: a table of errors by source and card. Convention: as in `judging`; a case
without counts is left out, and so is a doubtful one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.record.statistics import ErrorStatistics
from benchmarks.record.tables import table as markdown
from benchmarks.throughput.judging import statistics
from benchmarks.throughput.records import Counted, Use
from benchmarks.throughput.sources import copy_s, issue_s, timed
from planner.hardware.database import load_gpus
from planner.timing.roofline import gpu_time


def shipped_s(one: Counted) -> float:
    """Returns the seconds of the step: of the card, or of launching if that takes longer."""
    operators = timed(one)
    card = load_gpus().find(one.case.step.card).spec
    busy_s = gpu_time(operators, card, tf32_matmul=one.case.tf32).total_s
    return max(busy_s, issue_s(one)) + copy_s(one.case, card)


def table(counted: Iterable[Counted]) -> Iterator[str]:
    """Yields the lines of a table in Markdown: a source as a whole, then each of its cards."""
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in counted:
        if one.operators and one.case.use is not Use.DOUBTFUL:
            for card in ("all", one.case.step.card):
                of_both = pairs.setdefault((one.case.source, card), [])
                of_both.append((shipped_s(one), one.case.measured_s))
    yield from markdown(
        ("source", "card", "cases", "median", "worst", "median with sign"),
        [
            (source, card, *_cells(found))
            for (source, card), seconds in sorted(pairs.items())
            if (found := statistics(seconds))
        ],
    )


def _cells(errors: ErrorStatistics) -> tuple[str, ...]:
    shares = (f"{errors.median:.2%}", f"{abs(errors.worst):.1%}", f"{errors.bias:+.2%}")
    return (str(errors.number), *shares)
