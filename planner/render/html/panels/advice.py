"""The panel of an Advice: each change with its memory, and the plan as code.

In: Advice. Out: a dict for templates/charts.html.j2.
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
from planner.results.advice import Advice, Trial, TrialState
from planner.results.one_line import plan_words
from planner.results.words import range_words, step_words
from planner.units import format_bytes, format_duration, format_significant


def advice_panel(result: Advice) -> dict[str, Any]:
    """Returns the panel."""
    tried = [trial for trial in result.trials if trial.device_total_bytes is not None]
    usable = result.usable_memory_bytes - result.reserve_bytes
    limit = {"y": usable, "text": "usable memory"}
    totals = [
        {"y": trial.device_total_bytes, "name": _levers(trial),
         "tone": "good" if trial.fits else "bad"}
        for trial in (result.baseline, *tried)
    ]  # fmt: skip
    saved = [
        {"y": trial.saved_bytes, "name": _levers(trial), "tone": "good" if trial.fits else "bad"}
        for trial in tried
    ]
    rows = [_trial_row(trial) for trial in (result.baseline, *result.trials)]
    shown = ("change", "outcome", "fits", "device total", "saved", "step", "time for a sample",
             "largest batch")  # fmt: skip
    tables = [table("All that was tried, the best first", shown, rows)]
    levers = [
        (lever.name, " ".join(lever.flags) or NOTHING, lever.effect.value, lever.note)
        for lever in result.levers
    ]
    tables.append(table("The changes", ("name", "flags", "effect on training", "note"), levers))
    if result.other_cards:
        cards = [
            (card.name, format_bytes(card.device_total_bytes),
             format_bytes(card.usable_memory_bytes),
             range_words(card.price_per_hour, f"{card.currency or ''}/h") or NOTHING)
            for card in result.other_cards
        ]  # fmt: skip
        names = ("card", "device total", "usable memory", "rent")
        tables.append(table("Cards on which the step fits as it is", names, cards))
    plan = result.plan
    code = [] if plan is None else [("Command", plan.command), ("Code", "\n".join(plan.code))]
    words = plan_words(plan)
    return charts_panel(
        result,
        [f"on {result.gpu_name}, {format_bytes(result.usable_memory_bytes)} of usable memory",
         f"goal: {result.goal.value}", step_words(result.config)],
        f"{words[:1].upper()}{words[1:]}.",
        [("Device total with each change", bars("Device total with each change", "bytes",
                                                  totals[:CHARTED], limit)),
         ("Memory that each change saves", bars("Memory that each change saves", "bytes",
                                                 saved[:CHARTED]))],
        tables,
        [(label, text) for label, text in code if text],
    )  # fmt: skip


def _trial_row(trial: Trial) -> tuple[str, ...]:
    factor = trial.time_factor
    state = trial.state.value if trial.state is TrialState.TRIED else (
        f"{trial.state.value}: {trial.reason}" if trial.reason else trial.state.value
    )  # fmt: skip
    return (
        _levers(trial),
        state,
        {True: "yes", False: "no", None: NOTHING}[trial.fits],
        size_words(trial.device_total_bytes),
        size_words(trial.saved_bytes),
        NOTHING if trial.step_s is None else format_duration(trial.step_s),
        NOTHING if factor is None else f"x{format_significant(factor)}",
        NOTHING if trial.max_batch_size is None else str(trial.max_batch_size),
    )


def _levers(trial: Trial) -> str:
    return " + ".join(trial.levers) or "as requested"
