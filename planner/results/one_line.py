"""A result on one line: target, card, verdict, figures.

In: a result. Out: text like `<Estimate 'net.py', training with batch 8: a100 fits, ...>`.
Convention: figures are rounded; the warnings of the result are counted, so that they are seen.
"""

from __future__ import annotations

from functools import singledispatch

from planner.results.advice import Advice, Plan
from planner.results.comparison import CardComparison, ComparedCard, RankBy
from planner.results.curve import Curve
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.results.parallelization import Parallelization
from planner.results.serving import ServingPlan
from planner.results.verification import DeviceKind, Verification
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
from planner.units import counted, format_count, format_flops, format_significant

_CARDS_SHOWN = 3


@singledispatch
def one_line(result: object) -> str:
    """Returns the result on one line."""
    raise TypeError(f"a {type(result).__name__} is no result")


@one_line.register
def _(entry: DeviceEstimate) -> str:
    return f"<DeviceEstimate {_card_words(entry, is_drawn=False)}>"


@one_line.register
def _(estimate: Estimate) -> str:
    is_drawn = estimate.values.are_decided
    shown = [_card_words(entry, is_drawn=is_drawn) for entry in estimate.gpus[:_CARDS_SHOWN]]
    more = len(estimate.gpus) - len(shown)
    cards = "; ".join([*shown, *([counted(more, "more card")] if more > 0 else [])])
    head = f"{estimate.target!r}, {step_words(estimate.config)}"
    return _closed("Estimate", f"{head}: {cards}", estimate.warnings)


@one_line.register
def _(curve: Curve) -> str:
    largest = {None: "largest batch not searched", 0: "no batch fits, not even 1"}.get(
        curve.largest_batch_size,
        f"largest batch {curve.largest_batch_size}{' or more' * curve.largest_batch_is_bound}",
    )
    batches = [point.batch_size for point in curve.points]
    over = f"{counted(len(batches), 'point')}"
    if batches:
        over += f" from batch {batches[0]} to {batches[-1]}"
    knee = "no knee" if curve.knee is None else f"knee {curve.knee}"
    return _closed(
        "Curve",
        f"{curve.target!r} on {printable(curve.gpu)}: {over}, {largest}, {knee}, {_advice(curve)}",
        curve.warnings,
    )


@one_line.register
def _(comparison: CardComparison) -> str:
    parts = [counted(len(comparison.cards), "card"), _best(comparison)]
    if comparison.left_out:
        parts.append(f"{len(comparison.left_out)} left out")
    head = f"{comparison.target!r} by {comparison.by.value}"
    return _closed("CardComparison", f"{head}: {', '.join(parts)}", comparison.warnings)


@one_line.register
def _(verification: Verification) -> str:
    kind = verification.device.kind
    on = f"emulated {verification.device.name}" if kind is DeviceKind.EMULATED else (
        verification.device.name
    )  # fmt: skip
    predicted, measured = verification.predicted, verification.measured
    parts = [verdict_words(verification)]
    sides = (predicted.max_batch_size, measured.max_batch_size)
    if sides != (None, None):
        before, after = ("unknown" if side is None else str(side) for side in sides)
        parts.append(f"largest batch {before} predicted, {after} measured")
    error = verification.errors()["device_total_bytes"]
    if error is not None:
        parts.append(f"device total {error:+.1%} predicted against measured")
    head = f"{verification.target!r} on {printable(on)}"
    return _closed("Verification", f"{head}: {', '.join(parts)}", verification.warnings)


@one_line.register
def _(inspection: Inspection) -> str:
    step = inspection.model.step
    parts = [
        f"{format_count(inspection.model.counts.parameters)} parameters",
        f"{format_flops(step.forward_flops_per_sample)} a sample in the forward",
        f"{format_flops(step.step_flops)} in a step without the optimizer",
        f"{counted(len(inspection.modules), 'module')} to depth {inspection.depth}",
    ]
    if step.uncounted_operators:
        parts.append(f"{counted(len(step.uncounted_operators), 'operator')} without a rule")
    head = f"{inspection.target!r}, batch {inspection.config.batch_size}"
    return _closed("Inspection", f"{head}: {', '.join(parts)}", inspection.warnings)


@one_line.register
def _(advice: Advice) -> str:
    head = f"{advice.target!r} on {printable(advice.gpu)}, goal {advice.goal.value}"
    tried = sum(trial.device_total_bytes is not None for trial in advice.trials)
    words = f"{plan_words(advice.plan)}, {counted(tried, 'change')} tried"
    return _closed("Advice", f"{head}: {words}", advice.warnings)


@one_line.register
def _(found: Parallelization) -> str:
    gpus = counted(found.num_gpus, "GPU")
    head = f"{found.target!r} on {gpus} {printable(found.gpu)}"
    plan = "nothing that was tried fits" if found.plan is None else found.plan.spread.words
    return _closed("Parallelization", f"{head}: {printable(plan)}", found.warnings)


@one_line.register
def _(found: ServingPlan) -> str:
    cards = f"{counted(found.tensor_parallel, 'card')} {printable(found.gpu)}"
    head = f"{found.target!r} by {found.engine.value} on {cards}"
    parts = [found.verdict.value, f"{found.middle.tokens:,} tokens in the cache"]
    if found.speed is not None:
        tokens = format_significant(found.speed.output_tokens_per_s.middle)
        parts.append(f"{tokens} output tokens/s")
    return _closed("ServingPlan", f"{head}: {', '.join(parts)}", found.warnings)


def plan_words(plan: Plan | None) -> str:
    """Returns the names of the changes to make, or that there are none."""
    if plan is None:
        return "nothing that was tried fits"
    if plan.flags[:1] == ("--gpu",):
        return f"fits on {printable(plan.gpu)}"
    return printable(" + ".join(plan.levers)) or "no change is needed"


def verdict_words(verification: Verification) -> str:
    """Returns whether the prediction is confirmed, or that there was none."""
    if not verification.is_confirmed:
        return "not confirmed"
    if verification.predicted.max_batch_size is None:
        return "measured, nothing was predicted"
    return "confirmed"


def _card_words(entry: DeviceEstimate, *, is_drawn: bool) -> str:
    largest, time = largest_words(entry), time_words(entry)
    words = [
        f"{printable(entry.requested)} {fit_words(entry, is_drawn=is_drawn)}, {total_words(entry)}"
    ]
    words[0] += f" ({interval_words(entry)})"
    words += [f"largest batch {largest}"] if largest else []
    return ", ".join([*words, *([f"step {time}"] if time else [])])


def _advice(curve: Curve) -> str:
    if curve.recommended_batch_size is None:
        return "none recommended"
    times = f" x {curve.accumulate}" if (curve.accumulate or 1) > 1 else ""
    return f"recommended {curve.recommended_batch_size}{times}"


def _best(comparison: CardComparison) -> str:
    """Returns the first card that fits and has the ranked figure, with this figure."""
    for card in comparison.ranking:
        value = ranked_by(card, comparison.by)
        if card.fits and value:
            return f"best {printable(card.requested)} at batch {card.batch_size} ({value})"
    return "none that fits and can be ranked"


def ranked_by(card: ComparedCard, by: RankBy) -> str:
    """Returns the ranked figure of the card; "" where it is not known."""
    if by is RankBy.TIME:
        rate = card.samples_per_s
        return "" if rate is None else f"{format_significant(rate)} samples/s"
    if by is RankBy.COST:
        return range_words(card.money, f"{card.currency or ''} an epoch")
    return range_words(card.kwh, "kWh an epoch")


def _closed(name: str, text: str, warnings: tuple[str, ...]) -> str:
    end = f"; {counted(len(warnings), 'warning')}" if warnings else ""
    return f"<{name} {text}{end}>"
