"""The panel of a page for each kind of result: its data, its texts, its charts and tables.

In: a result. Out: a dict: `data` for the scripts, `title`, `target`, `sources`, and the texts of
its template. Convention: a chart has a table with the same figures; None is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import singledispatch
from typing import Any

from planner.errors import UsageError
from planner.render.html.columns import Columns
from planner.render.html.facts import estimate_facts, shared_facts
from planner.render.html.payload import estimate_payload, source_lines
from planner.render.terminal.heading import any_batch
from planner.results.advice import Advice, Trial, TrialState
from planner.results.comparison import CardComparison
from planner.results.curve import Curve, recommendation
from planner.results.document import kind_of_result
from planner.results.estimate import Estimate
from planner.results.one_line import plan_words, ranked_by
from planner.results.parallelization import Parallelization, SpreadState
from planner.results.result import Result
from planner.results.words import range_words, step_words
from planner.units import format_bytes, format_duration, format_significant

_NOTHING = "–"
_CHARTED = 20  # bars of a chart; the table has all


def panel_of(result: Result, columns: Columns, batches: Collection[int] = ()) -> dict[str, Any]:
    """Returns the panel of a result.

    Raises:
        UsageError: results of this kind have no page, or no other batches.
    """
    if batches and not isinstance(result, Estimate):
        raise UsageError("--batches is for the result of planner estimate")
    found = _panel(result, columns, batches)
    return {"target": getattr(result, "target", ""), "sources": (), **found}


@singledispatch
def _panel(result: Result, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
    raise UsageError(
        f"planner report makes no page of a result of planner {kind_of_result(result).command}; "
        "planner show prints it"
    )


@_panel.register
def _(result: Estimate, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
    facts = estimate_facts(result)
    charts = [card["chart"] for card in facts["cards"]]
    return {
        "template": "estimate.html.j2",
        "data": {**estimate_payload(result, columns, batches), "charts": charts},
        "sources": source_lines(result.allocations),
        **facts,
    }


@_panel.register
def _(result: Curve, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
    marked = (
        ("knee", result.knee), ("largest", result.largest_batch_size),
        ("recommended", result.recommended_batch_size),
    )  # fmt: skip
    marks = {
        point.batch_size: ", ".join(word for word, at in marked if at == point.batch_size)
        for point in result.points
    }

    def points(values: Iterable[float | None]) -> list[dict[str, Any]]:
        return [
            {
                "x": point.batch_size,
                "y": value,
                "name": f"batch {point.batch_size}, {'fits' if point.fits else 'does not fit'}",
                "mark": marks[point.batch_size],
                "tone": "good" if point.fits else "bad",
            }
            for point, value in zip(result.points, values, strict=True)
        ]

    usable = format_bytes(result.usable_memory_bytes)
    limit = {"y": result.usable_memory_bytes, "text": f"usable memory {usable}"}
    speed = _line("Throughput by batch", "number", points(p.samples_per_s for p in result.points))
    memory = _line(
        "Device total by batch", "bytes", points(p.device_total_bytes for p in result.points), limit
    )
    rows = [
        (
            str(point.batch_size),
            "yes" if point.fits else "no",
            format_duration(point.step_s),
            format_significant(point.samples_per_s),
            _size(point.device_total_bytes),
            point.bound,
            marks[point.batch_size],
        )
        for point in result.points
    ]
    columns_shown = ("batch", "fits", "step", "samples/s", "device total", "bound by", "marks")
    lead = recommendation(result.points, result.global_batch_size).sentence
    return _charts(
        result,
        [f"on {result.gpu_name}, {usable} of usable memory",
         any_batch(result.config, result.weight_dtypes)],
        f"{lead[:1].upper()}{lead[1:]}.",
        [("Throughput, samples/s", speed), ("Memory of the card", memory)],
        [_table("All points", columns_shown, rows)],
    )  # fmt: skip


@_panel.register
def _(result: CardComparison, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
    def bars(values: Iterable[float | None]) -> list[dict[str, Any]]:
        cards = zip(result.ranking, values, strict=True)
        return [
            {"y": value, "name": card.requested, "tone": "plain" if card.fits else "muted"}
            for card, value in cards
        ][:_CHARTED]

    rows = [
        (
            card.requested,
            card.name,
            "yes" if card.fits else "no",
            _largest(card.max_batch_size, is_bound=card.max_batch_is_bound),
            _NOTHING if card.batch_size is None else str(card.batch_size),
            _NOTHING if card.samples_per_s is None else format_significant(card.samples_per_s),
            _NOTHING if card.epoch_hours is None else f"{format_significant(card.epoch_hours)} h",
            range_words(card.kwh, "kWh") or _NOTHING,
            range_words(card.money, card.currency or "") or _NOTHING,
        )
        for card in result.ranking
    ]
    shown = ("card", "full name", "fits", "largest batch", "batch", "samples/s", "epoch", "energy",
             "cost")  # fmt: skip
    best = result.best
    lead = "None of these cards fits and can be ranked."
    if best is not None:
        lead = f"Best by {result.by.value}: {best.name} with {ranked_by(best, result.by)}."
    tables = [_table("All cards, the best first", shown, rows)]
    if result.left_out:
        left = [(card.requested, card.reason) for card in result.left_out]
        tables.append(_table("Left out", ("card", "why"), left))
    charts = [("Throughput, samples/s",
               _bars("Throughput of each card", "number",
                     bars(c.samples_per_s for c in result.ranking)))]  # fmt: skip
    for title, ends in (("Energy of an epoch, kWh, in the middle of its range", "kwh"),
                        ("Rent of an epoch, in the middle of its range", "money")):  # fmt: skip
        values = [_middle(getattr(card, ends)) for card in result.ranking]
        if any(value is not None for value in values):
            charts.append((title, _bars(title, "number", bars(values))))
    lines = [step_words(result.config), *result.remarks]
    return _charts(result, lines, lead, charts, tables)


@_panel.register
def _(result: Advice, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
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
    tables = [_table("All that was tried, the best first", shown, rows)]
    levers = [
        (lever.name, " ".join(lever.flags) or _NOTHING, lever.effect.value, lever.note)
        for lever in result.levers
    ]
    tables.append(_table("The changes", ("name", "flags", "effect on training", "note"), levers))
    if result.other_cards:
        cards = [
            (card.name, format_bytes(card.device_total_bytes),
             format_bytes(card.usable_memory_bytes),
             range_words(card.price_per_hour, f"{card.currency or ''}/h") or _NOTHING)
            for card in result.other_cards
        ]  # fmt: skip
        names = ("card", "device total", "usable memory", "rent")
        tables.append(_table("Cards on which the step fits as it is", names, cards))
    plan = result.plan
    code = [] if plan is None else [("Command", plan.command), ("Code", "\n".join(plan.code))]
    words = plan_words(plan)
    return _charts(
        result,
        [f"on {result.gpu_name}, {format_bytes(result.usable_memory_bytes)} of usable memory",
         f"goal: {result.goal.value}", step_words(result.config)],
        f"{words[:1].upper()}{words[1:]}.",
        [("Device total with each change", _bars("Device total with each change", "bytes",
                                                  totals[:_CHARTED], limit)),
         ("Memory that each change saves", _bars("Memory that each change saves", "bytes",
                                                 saved[:_CHARTED]))],
        tables,
        [(label, text) for label, text in code if text],
    )  # fmt: skip


@_panel.register
def _(result: Parallelization, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
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
            _size(one.device_total_bytes),
            _NOTHING if one.step_s is None else format_duration(one.step_s),
            _NOTHING if one.samples_per_s is None else format_significant(one.samples_per_s),
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
        lead = f"{plan.spread.words}: {_size(plan.spread.device_total_bytes)} on the worst rank."
        code = [("Command", plan.command), ("Launch", plan.launch), ("Code", "\n".join(plan.code)),
                ("Script", "\n".join(plan.script))]  # fmt: skip
    smallest = [
        (", ".join(one.levers) or "as requested", _NOTHING if one.gpus is None else str(one.gpus),
         _size(one.device_total_bytes), one.reason)
        for one in result.smallest
    ]  # fmt: skip
    tables = [_table("All spreads, the best first", shown, rows)]
    if smallest:
        names = ("levers", "GPUs", "device total", "why")
        tables.append(_table("The fewest cards that fit", names, smallest))
    return _charts(
        result,
        [f"on {result.num_gpus} {result.gpu_name}", step_words(result.config)],
        lead,
        [("Throughput of the job, samples/s",
          _bars("Throughput of each spread", "number", speeds[:_CHARTED])),
         ("Memory of a card", _bars("Device total of each spread", "bytes", sizes[:_CHARTED],
                                    limit))],
        tables,
        [(label, text) for label, text in code if text],
    )  # fmt: skip


def _charts(
    result: Any,
    lines: Sequence[str],
    lead: str,
    charts: Sequence[tuple[str, dict[str, Any]]],
    tables: Sequence[dict[str, Any]],
    code: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    return {
        "template": "charts.html.j2",
        "data": {"kind": "charts", "charts": [chart for _, chart in charts]},
        "title": result.target,
        "lines": list(lines),
        "lead": lead,
        "charts": [title for title, _ in charts],
        "tables": list(tables),
        "code": list(code),
        **shared_facts(result),
    }


def _line(
    label: str, unit: str, points: list[dict[str, Any]], limit: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"kind": "line", "label": label, "x": "batch", "log": True, "unit": unit,
            "points": points, "limit": limit}  # fmt: skip


def _bars(
    label: str, unit: str, points: list[dict[str, Any]], limit: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"kind": "bars", "label": label, "unit": unit, "points": points, "limit": limit}


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}


def _trial_row(trial: Trial) -> tuple[str, ...]:
    factor = trial.time_factor
    state = trial.state.value if trial.state is TrialState.TRIED else (
        f"{trial.state.value}: {trial.reason}" if trial.reason else trial.state.value
    )  # fmt: skip
    return (
        _levers(trial),
        state,
        {True: "yes", False: "no", None: _NOTHING}[trial.fits],
        _size(trial.device_total_bytes),
        _size(trial.saved_bytes),
        _NOTHING if trial.step_s is None else format_duration(trial.step_s),
        _NOTHING if factor is None else f"x{format_significant(factor)}",
        _NOTHING if trial.max_batch_size is None else str(trial.max_batch_size),
    )


def _levers(trial: Trial) -> str:
    return " + ".join(trial.levers) or "as requested"


def _size(size_bytes: int | None) -> str:
    return _NOTHING if size_bytes is None else format_bytes(size_bytes)


def _middle(ends: tuple[float, float] | None) -> float | None:
    return None if ends is None else sum(ends) / 2


def _largest(batch_size: int | None, *, is_bound: bool) -> str:
    if batch_size is None:
        return _NOTHING
    return f"{batch_size} or more" if is_bound else str(batch_size) if batch_size else "none"
