"""A result as HTML for a notebook: a table with a caption and headed rows, without scripts;
of an estimate the parts of the device total as bars too.

In: a result. Out: HTML. Convention: every text is escaped; text has the colours of the page
around it, light or dark; the important facts are in words. Figures are rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape

from planner.results.advice import Advice
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.results.one_line import plan_words, ranked_by, verdict_words
from planner.results.parallelization import Parallelization, SpreadMethod
from planner.results.parts_bar import parts_bar
from planner.results.serving import ServingPlan
from planner.results.verification import COMPARED, Verification
from planner.results.words import (
    fit_words,
    interval_words,
    largest_words,
    printable,
    range_words,
    step_words,
    time_words,
    total_words,
)
from planner.units import (
    counted,
    format_bytes,
    format_count,
    format_duration,
    format_flops,
    format_significant,
)

_ROWS_SHOWN = 20
_WARNINGS_SHOWN = 5
_BARS_SHOWN = 4
_NOTHING = "-"
_CELL = 'style="text-align:left"'
_WHOLE = 'style="color:inherit"'  # a page without a doctype would have it black
_CARD_COLUMNS = ("card", "verdict", "device total", "interval", "largest batch", "step time")


@singledispatch
def html_form(result: object) -> str:
    """Returns the result as HTML."""
    raise TypeError(f"a {type(result).__name__} is no result")


@html_form.register
def _(entry: DeviceEstimate) -> str:
    return _table(entry.name, _CARD_COLUMNS, [_card_row(entry)]) + parts_bar(entry)


@html_form.register
def _(estimate: Estimate) -> str:
    caption = f"{estimate.target}, {step_words(estimate.config)}"
    rows = [_card_row(entry, is_drawn=estimate.values.are_decided) for entry in estimate.gpus]
    bars = "".join(map(parts_bar, estimate.gpus[:_BARS_SHOWN]))
    return _table(caption, _CARD_COLUMNS, rows, estimate.warnings) + bars


@html_form.register
def _(curve: Curve) -> str:
    usable = format_bytes(curve.usable_memory_bytes)
    caption = f"{curve.target} on {curve.gpu_name}, {usable} of usable memory"
    marked = (
        ("knee", curve.knee), ("largest", curve.largest_batch_size),
        ("recommended", curve.recommended_batch_size),
    )  # fmt: skip
    rows = [
        (
            str(point.batch_size),
            "yes" if point.fits else "no",
            format_duration(point.step_s),
            format_significant(point.samples_per_s),
            _or_nothing(point.device_total_bytes),
            point.bound,
            ", ".join(word for word, batch in marked if batch == point.batch_size),
        )
        for point in curve.points
    ]
    columns = ("batch", "fits", "step", "samples/s", "device total", "bound by", "marks")
    return _table(caption, columns, rows, curve.warnings)


@html_form.register
def _(comparison: CardComparison) -> str:
    rows = [
        (
            card.requested,
            "yes" if card.fits else "no",
            _largest(card.max_batch_size, is_bound=card.max_batch_is_bound),
            _NOTHING if card.batch_size is None else str(card.batch_size),
            _NOTHING if card.samples_per_s is None else format_significant(card.samples_per_s),
            _NOTHING if card.epoch_hours is None else f"{format_significant(card.epoch_hours)} h",
            range_words(card.kwh, "kWh"),
            range_words(card.money, card.currency or ""),
        )
        for card in comparison.ranking
    ]
    columns = (
        "card", "fits", "largest batch", "batch", "samples/s", "epoch", "energy", "money",
    )  # fmt: skip
    unranked = [one for one in comparison.cards if not ranked_by(one, comparison.by)]
    last = f"; {counted(len(unranked), 'card')} without it last" if unranked else ""
    left_out = f"; {len(comparison.left_out)} left out" if comparison.left_out else ""
    caption = f"{comparison.target}, ranked by {comparison.by.value}{last}{left_out}"
    return _table(caption, columns, rows, comparison.warnings)


@html_form.register
def _(verification: Verification) -> str:
    device, errors = verification.device, verification.errors()
    rows = []
    for name in COMPARED:
        sides = [getattr(side, name) for side in (verification.predicted, verification.measured)]
        if sides != [None, None]:
            error = errors[name]
            rows.append(
                (
                    name.removesuffix("_bytes").removesuffix("_s").replace("_", " "),
                    *(_figure(name, side) for side in sides),
                    _NOTHING if error is None else f"{error:+.1%}",
                )
            )
    caption = (
        f"{verification.target} on {device.name} ({device.kind.value}): "
        f"{verdict_words(verification)}"
    )
    notes = (*verification.complaints, *verification.warnings)
    return _table(caption, ("figure", "predicted", "measured", "error"), rows, notes)


@html_form.register
def _(inspection: Inspection) -> str:
    model = inspection.model
    caption = (
        f"{inspection.target}, batch {inspection.config.batch_size}, as on {inspection.gpu}: "
        f"{format_count(model.counts.parameters)} parameters, "
        f"{format_flops(model.step.forward_flops_per_sample)} a sample in the forward, "
        f"{format_flops(model.step.step_flops)} in a step without the optimizer"
    )
    rows = [
        (
            row.path or "(model)",
            row.kind,
            format_count(row.parameters),
            format_flops(row.forward_flops),
            format_bytes(row.saved_bytes),
        )
        for row in inspection.modules
    ]
    columns = ("module", "class", "parameters", "forward", "saved for backward")
    return _table(caption, columns, rows, inspection.warnings)


@html_form.register
def _(advice: Advice) -> str:
    usable = format_bytes(advice.usable_memory_bytes)
    caption = f"{advice.target} on {advice.gpu_name}, {usable}: {plan_words(advice.plan)}"
    tried = [one for one in advice.trials if one.device_total_bytes is not None]
    rows = [
        (
            " + ".join(trial.levers) or "as requested",
            "yes" if trial.fits else "no",
            _or_nothing(trial.device_total_bytes),
            _NOTHING if trial.max_batch_size is None else str(trial.max_batch_size),
            _NOTHING if trial.time_factor is None else format_significant(trial.time_factor),
            " ".join(flag for name in trial.levers for flag in advice.lever(name).flags),
        )
        for trial in (advice.baseline, *tried)
    ]
    columns = ("change", "fits", "device total", "largest batch", "time factor", "flags")
    return _table(caption, columns, rows, advice.warnings)


@html_form.register
def _(found: Parallelization) -> str:
    usable = format_bytes(found.usable_memory_bytes)
    plan = "nothing that was tried fits" if found.plan is None else found.plan.spread.words
    gpus = counted(found.num_gpus, "GPU")
    caption = f"{found.target} on {gpus} {found.gpu_name}, {usable} each: {plan}"
    run = [one for one in found.spreads if one.method is SpreadMethod.RUN]
    rows = [
        (
            one.words,
            one.state.value,
            _or_nothing(one.device_total_bytes),
            _NOTHING if one.step_s is None else format_duration(one.step_s),
            _NOTHING if one.samples_per_s is None else format_significant(one.samples_per_s),
        )
        for one in run
    ]
    columns = ("spread", "result", "device total", "step", "samples/s")
    return _table(caption, columns, rows, found.warnings)


@html_form.register
def _(found: ServingPlan) -> str:
    cards = counted(found.tensor_parallel, "card")
    caption = (
        f"{found.target} by {found.engine.value} on {cards} {found.gpu_name}: "
        f"{found.verdict.value}, {found.middle.tokens:,} tokens in the cache"
    )
    rows = [(part.kind.value, format_bytes(part.size_bytes)) for part in found.parts]
    rows.append(("cache", format_bytes(max(0, found.cache.middle))))
    return _table(caption, ("on one card", "size"), rows, found.warnings)


def _card_row(entry: DeviceEstimate, *, is_drawn: bool = False) -> tuple[str, ...]:
    over = "" if entry.fits else f", {format_bytes(entry.missing_bytes)} over"
    return (
        entry.requested,
        f"{fit_words(entry, is_drawn=is_drawn)}{over}",
        total_words(entry),
        interval_words(entry),
        largest_words(entry) or "not searched",
        time_words(entry) or "not counted",
    )


def _largest(size: int | None, *, is_bound: bool) -> str:
    return _NOTHING if size is None else f"{size}{' or more' if is_bound else ''}"


def _or_nothing(size_bytes: int | None) -> str:
    return _NOTHING if size_bytes is None else format_bytes(size_bytes)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return _NOTHING
    if name.endswith("_bytes"):
        return format_bytes(int(value))
    return format_duration(value) if name.endswith("_s") else str(value)


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    warnings: Iterable[str] = (),
) -> str:
    """Returns a table with row headings; rows and warnings that are not shown are counted."""
    head = "".join(f'<th scope="col" {_CELL}>{_text(one)}</th>' for one in columns)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows[:_ROWS_SHOWN])
    more = len(rows) - _ROWS_SHOWN
    if more > 0:
        body += f'<tr><td {_CELL} colspan="{len(columns)}">and {more} more</td></tr>'
    return (
        f"<table {_WHOLE}><caption {_CELL}>{_text(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{_list(tuple(warnings))}"
    )


def _cells(row: Sequence[str]) -> str:
    cells = "".join(f"<td {_CELL}>{_text(one) or _NOTHING}</td>" for one in row[1:])
    return f'<th scope="row" {_CELL}>{_text(row[0])}</th>{cells}'


def _list(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = [f"<li>{_text(one)}</li>" for one in warnings[:_WARNINGS_SHOWN]]
    more = len(warnings) - len(items)
    items += [f"<li>and {more} more</li>"] if more > 0 else []
    return f"<p>Warnings</p><ul>{''.join(items)}</ul>"


def _text(text: str) -> str:
    return escape(printable(text))
