"""The panel of a Parallelization: each spread with its speed and memory, and the plan.

In: Parallelization. Out: a dict for templates/charts.html.j2.
"""

from __future__ import annotations

from typing import Any

from planner.render.html.panels.parts import (
    CHARTED,
    NOTHING,
    bars,
    charts_panel,
    size_words,
    table,
)
from planner.results.parallelization import Parallelization, SpreadState
from planner.results.words import step_words
from planner.units import format_duration, format_significant


def parallelization_panel(result: Parallelization) -> dict[str, Any]:
    """Returns the panel."""
    fitting = [one for one in result.spreads if one.state is SpreadState.FITS]
    timed = [one for one in result.spreads if one.samples_per_s is not None]
    speeds = [
        {"y": one.samples_per_s, "name": one.words, "tone": "good" if one in fitting else "muted"}
        for one in timed
    ]
    sizes = [
        {"y": one.device_total_bytes, "name": one.words,
         "tone": "bad" if one.over_bytes else "good" if one in fitting else "muted"}
        for one in result.spreads if one.device_total_bytes is not None
    ]  # fmt: skip
    limit = {"y": result.usable_memory_bytes - result.reserve_bytes, "text": "usable memory"}
    rows = [
        (
            one.words,
            str(one.gpus),
            one.state.value,
            one.method.value,
            size_words(one.device_total_bytes),
            NOTHING if one.step_s is None else format_duration(one.step_s),
            NOTHING if one.samples_per_s is None else format_significant(one.samples_per_s),
            one.reason,
        )
        for one in result.spreads
    ]
    shown = (
        "spread",
        "GPUs",
        "outcome",
        "figures from",
        "device total",
        "step",
        "samples/s",
        "why",
    )
    plan = result.plan
    lead = "Nothing that was tried fits."
    code: list[tuple[str, str]] = []
    if plan is not None:
        lead = (
            f"{plan.spread.words}: {size_words(plan.spread.device_total_bytes)} on the worst rank."
        )
        code = [("Command", plan.command), ("Launch", plan.launch), ("Code", "\n".join(plan.code)),
                ("Script", "\n".join(plan.script))]  # fmt: skip
    smallest = [
        (", ".join(one.levers) or "as requested", NOTHING if one.gpus is None else str(one.gpus),
         size_words(one.device_total_bytes), one.reason)
        for one in result.smallest
    ]  # fmt: skip
    tables = [table("All spreads, the best first", shown, rows)]
    if smallest:
        names = ("levers", "GPUs", "device total", "why")
        tables.append(table("The fewest cards that fit", names, smallest))
    return charts_panel(
        result,
        [f"on {result.num_gpus} {result.gpu_name}", step_words(result.config)],
        lead,
        [("Throughput of the job, samples/s",
          bars("Throughput of each spread", "number", speeds[:CHARTED])),
         ("Memory of a card", bars("Device total of each spread", "bytes", sizes[:CHARTED],
                                    limit))],
        tables,
        [(label, text) for label, text in code if text],
    )  # fmt: skip
