"""Judges counted steps with the constants that planner ships, without a fit.

In: counted cases. Out: a table of errors by source and card. Convention: as in `judging`; a case
without counts is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.throughput.counting import Counted
from benchmarks.throughput.fitting import WITHOUT_OPTIMIZER
from benchmarks.throughput.judging import statistics
from planner.hardware.database import load_gpus
from planner.timing.efficiency import efficiencies
from planner.timing.roofline import gpu_time
from planner.wire.trace import Phase


def shipped_s(one: Counted) -> float:
    """Returns the seconds of the step: of the card, or of launching if that takes longer."""
    operators = [
        record
        for record in one.operators
        if record.phase is not Phase.OPTIMIZER_STEP or one.case.source not in WITHOUT_OPTIMIZER
    ]
    card = load_gpus().find(one.case.card).spec
    busy_s = gpu_time(operators, card, tf32_matmul=one.case.tf32).total_s
    return max(busy_s, sum(record.calls for record in operators) * efficiencies().launch_s)


def table(counted: Iterable[Counted]) -> Iterator[str]:
    """Yields the lines of a table in Markdown: a source as a whole, then each of its cards."""
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in counted:
        if one.operators:
            for card in ("all", one.case.card):
                of_both = pairs.setdefault((one.case.source, card), [])
                of_both.append((shipped_s(one), one.case.measured_s))
    yield "| source | card | cases | median | worst | median with sign |"
    yield "|---|---|---|---|---|---|"
    for (source, card), found in sorted(pairs.items()):
        errors = statistics(found)
        yield (
            f"| {source} | {card} | {errors.cases} | {errors.median:.2%} | {errors.worst:.1%} "
            f"| {errors.bias:+.2%} |"
        )
