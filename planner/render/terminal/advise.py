"""An Advice as a report for people: the plan first, then all trials, the best first.

In: Advice. Out: a renderable. Convention: plain ASCII; figures are rounded; the JSON has them
whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from planner.render.terminal.heading import software, step_words, values_line
from planner.render.terminal.layout import (
    FittedTable,
    closing,
    verdict_lines,
    warning_line,
)
from planner.results.advice import Advice, CardChoice, Effect, Plan, Trial, TrialState
from planner.results.words import STEPS
from planner.units import (
    format_bytes,
    format_duration,
    format_part,
    format_range,
    format_significant,
)

_NOTHING = "-"
_COLUMNS = ("change", "fits", "device total", "saved", "largest batch", "time", "training", "flags")
_LEFT = (0, 1, 6, 7)
_LEFT_OUT_FIRST = (2, 4, 6)
_CARDS_SHOWN = 5
_WORTH_FACTOR = 0.98  # a gain in time below this is within the error of the model
_GIVEN_BACK = (
    "a device total above the memory of the card that still fits is that of a card with room: on "
    "this one PyTorch's allocator gives cached memory back, and a replay of it fits"
)
_EFFECTS = {Effect.NONE: "same", Effect.SMALL: "rounding", Effect.LARGE: "changes"}


def render(advice: Advice, *, verbose: bool = False) -> RenderableType:
    """Returns the report: the plan, its code, the table, levers that cannot apply, other cards."""
    parts: list[RenderableType] = [verdict_lines(_verdict(advice)), Text(), _heading(advice)]
    parts += [Text(), _table(advice, verbose=verbose)]
    plan = advice.plan
    shown_trials = _shown_trials(advice, verbose=verbose)
    if any(_needs_no_cache(advice, trial) for trial in shown_trials):
        parts += [Text(), Text(_GIVEN_BACK)]
    named = {name for trial in shown_trials for name in trial.levers}
    effects = [f"{lever.name}: {lever.note}" for lever in advice.levers if lever.name in named]
    impossible = (
        "no effect or not possible here",
        list(_without_figures(advice, TrialState.CANNOT_APPLY)),
    )
    sections = (
        ("what it may do to training", effects),
        ("on the host", [_on_host(one) for one in shown_trials if one.offloaded_bytes]),
        impossible,
        ("failed", list(_without_figures(advice, TrialState.FAILED))),
        ("not tried", list(_without_figures(advice, TrialState.NOT_TRIED))),
        ("other cards on which it fits as it is", _cards(advice.other_cards)),
    )
    if plan is not None and plan.code:
        parts += [Text(), Text("in a plain PyTorch loop", style="bold"), Text("\n".join(plan.code))]
    shown = sections if verbose else [one for one in sections if one is not impossible]
    left_out = [] if verbose or not impossible[1] else ["levers that cannot apply"]
    if not verbose and len(_shown_trials(advice, verbose=True)) > len(shown_trials):
        left_out.append("changes that save nothing")
    return Group(*parts, *closing(shown, advice, verbose=verbose, left_out=left_out))


def _verdict(advice: Advice) -> list[tuple[str, Text]]:
    plan, base = advice.plan, advice.baseline
    total = base.device_total_bytes
    needed = "more than can be measured" if total is None else format_bytes(total)
    usable = format_bytes(advice.usable_memory_bytes)
    asked = f"fits, {needed} of {usable}" if base.fits else f"does not fit, {needed} of {usable}"
    lines = [("as requested", Text(asked, style="bold green" if base.fits else "bold red"))]
    if plan is None:
        lines.append(("plan", Text("nothing that was tried fits", style="bold red")))
    else:
        lines.append(("plan", Text(_plan_words(plan), style="bold green")))
        lines.append(("run", Text(plan.command)))
    return [*lines, *warning_line(advice)]


def _plan_words(plan: Plan) -> str:
    name = " + ".join(plan.levers) or (
        f"another card, {plan.gpu}" if plan.flags[:1] == ("--gpu",) else "no change"
    )
    words = [f"{name}: {format_part(plan.device_total_bytes, plan.usable_memory_bytes)}"]
    if plan.max_batch_size is not None:
        sure = ", confirmed by runs" if plan.max_batch_confirmed else " by replay"
        words.append(f"largest batch {plan.max_batch_size}{sure}")
    if plan.max_sequence_length is not None:
        sure = ", confirmed by runs" if plan.max_sequence_confirmed else " by replay"
        words.append(f"longest sequence {plan.max_sequence_length}{sure}")
    if plan.time_factor is not None and plan.levers:
        words.append(f"time for a sample x {format_significant(plan.time_factor)}")
    return "; ".join(words)


def _heading(advice: Advice) -> RenderableType:
    config = advice.config
    step = f"{STEPS[config.mode]} with batch {config.batch_size}"
    if config.accumulate > 1:
        step += f" x {config.accumulate}"
    optimizer = None if config.optimizer is None else config.optimizer.value
    words = ", ".join((step, *step_words(config, optimizer, advice.weight_dtypes)))
    return Group(
        Text(advice.target, style="bold"),
        Text(f"{words}, on {advice.gpu_name}; goal: {advice.goal.value}"),
        Text(software(advice.versions)),
        Text(values_line(advice.values)),
    )


def _needs_no_cache(advice: Advice, trial: Trial) -> bool:
    """Returns whether a trial fits although it takes more than the card has, where it can."""
    total_bytes = trial.device_total_bytes
    return bool(trial.fits) and (total_bytes or 0) > advice.usable_memory_bytes


def _is_tried(trial: Trial) -> bool:
    return trial.state is TrialState.TRIED


def _helps(trial: Trial) -> bool:
    """Returns whether a trial saves memory or time."""
    factor = trial.time_factor
    return (trial.saved_bytes or 0) > 0 or (factor is not None and factor < _WORTH_FACTOR)


def _shown_trials(advice: Advice, *, verbose: bool) -> list[Trial]:
    return [one for one in advice.trials if _is_tried(one) and (verbose or _helps(one))]


def _table(advice: Advice, *, verbose: bool) -> RenderableType:
    tried = [advice.baseline, *_shown_trials(advice, verbose=verbose)]
    return FittedTable(
        columns=_COLUMNS,
        lines=[_cells(advice, trial) for trial in tried],
        left=_LEFT,
        left_out_first=_LEFT_OUT_FIRST,
        folded=len(_COLUMNS) - 1,
    )


def _cells(advice: Advice, trial: Trial) -> tuple[Text, ...]:
    fits = Text("yes", style="bold green") if trial.fits else Text("no", style="bold red")
    levers = [advice.lever(name) for name in trial.levers]
    worst = max((lever.effect for lever in levers), key=list(Effect).index, default=None)
    texts = (
        _size(trial.device_total_bytes),
        _NOTHING if not levers else _size(trial.saved_bytes),
        _NOTHING if trial.max_batch_size is None else str(trial.max_batch_size),
        _time(trial),
        _NOTHING if worst is None else _EFFECTS[worst],
        " ".join(flag for lever in levers for flag in lever.flags) or _NOTHING,
    )
    name = " + ".join(trial.levers) or "as requested"
    return (Text(name), fits, *map(Text, texts))


def _time(trial: Trial) -> str:
    if not trial.levers:
        return _NOTHING if trial.step_s is None else format_duration(trial.step_s)
    factor = trial.time_factor
    return _NOTHING if factor is None else f"x {format_significant(factor)}"


def _on_host(trial: Trial) -> str:
    """Returns the RAM and the time that a trial takes on the host."""
    words = f"{' + '.join(trial.levers)}: {format_bytes(trial.offloaded_bytes or 0)} of RAM"
    if trial.offload_s is None:
        return words
    return f"{words}, {format_duration(trial.offload_s)} of the step for copies and update"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return _NOTHING
    return f"-{format_bytes(-size_bytes)}" if size_bytes < 0 else format_bytes(size_bytes)


def _without_figures(advice: Advice, state: TrialState) -> Iterator[str]:
    for trial in advice.trials:
        if trial.state is state:
            yield f"{' + '.join(trial.levers)}: {trial.reason}"


def _cards(cards: Sequence[CardChoice]) -> list[str]:
    lines = []
    for card in cards[:_CARDS_SHOWN]:
        words = [
            f"--gpu {card.id}: {format_part(card.device_total_bytes, card.usable_memory_bytes)}"
        ]
        if card.price_per_hour is not None:
            words.append(f"{format_range(card.price_per_hour, card.currency or '')} an hour")
        if card.step_s is not None:
            words.append(f"step {format_duration(card.step_s)}")
        lines.append(", ".join(words))
    more = len(cards) - _CARDS_SHOWN
    return [*lines, *([f"and {more} more"] if more > 0 else [])]
