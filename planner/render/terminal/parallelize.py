"""A Parallelization as a report for people: the plan, its code, the runner-up, why others fell out.

In: Parallelization. Out: a renderable. Convention: plain ASCII; figures are rounded; the JSON has
them whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from planner.render.terminal.heading import software, step_words
from planner.render.terminal.layout import FittedTable, closing, verdict_lines, warning_line
from planner.results.parallelization import (
    HeldBytes,
    Parallelization,
    ParallelPlan,
    SmallestJob,
    SpreadMethod,
    SpreadState,
    SpreadTrial,
)
from planner.units import (
    counted,
    format_bytes,
    format_duration,
    format_part,
    format_range,
    format_significant,
)

_NOTHING = "-"
_COLUMNS = ("spread", "result", "a card", "too much", "step", "samples/s", "time", "cost")
_LEFT = (0, 1)
_LEFT_OUT_FIRST = (7, 4, 3)
_SHOWN_LINES = 8  # of each list without --verbose


def render(found: Parallelization, *, verbose: bool = False) -> RenderableType:
    """Returns the report: the plan, what was run, why the others fell out, the fewest cards."""
    parts: list[RenderableType] = [verdict_lines(_verdict(found)), Text(), _heading(found)]
    run = [one for one in found.spreads if one.method is SpreadMethod.RUN]
    if run:
        parts += [Text(), _table(found, run)]
    plan = found.plan
    if plan is not None:
        parts += _code(plan)
    others = list(_others(found))
    shown = others if verbose else others[:_SHOWN_LINES]
    left_out = [] if len(shown) == len(others) else [f"{len(others) - len(shown)} other spreads"]
    sections = (
        ("the plan", [] if plan is None else list(_figures(plan))),
        ("what lasts through a step", [_held(found, one) for one in found.held]),
        (
            "fewest cards (powers of two, then whole machines; fsdp, all checkpointed)",
            [_smallest(found, one) for one in found.smallest],
        ),
        ("why others fell out", shown),
    )
    return Group(*parts, *closing(sections, found, verbose=verbose, left_out=left_out))


def _verdict(found: Parallelization) -> list[tuple[str, Text]]:
    plan = found.plan
    lines = [("as requested", _as_requested(found))]
    if plan is None:
        lines.append(("plan", Text("nothing that was tried fits", style="bold red")))
    else:
        spread = plan.spread
        words = [spread.words, _part(spread, plan.usable_memory_bytes)]
        if spread.samples_per_s is not None:
            words.append(f"{format_significant(spread.samples_per_s)} samples/s")
        lines += [
            ("plan", Text("; ".join(words), style="bold green")),
            ("start", Text(plan.launch)),
            ("estimate", Text(plan.command)),
        ]
    runner_up = found.runner_up
    if runner_up is not None:
        lines.append(("runner-up", Text(_ranked(runner_up))))
    return [*lines, *warning_line(found)]


def _as_requested(found: Parallelization) -> Text:
    fit = [one for one in found.spreads if one.state is SpreadState.FITS and not one.levers]
    number = counted(found.num_gpus, "GPU")
    if fit:
        return Text(f"fits on {number}", style="bold green")
    (held, *_) = found.held
    share_bytes = held.total_bytes // found.num_gpus
    words = (
        f"fits on {number} in no way: weights, gradients and optimizer state are "
        f"{format_bytes(held.total_bytes)}, {format_bytes(share_bytes)} a card where they are "
        f"divided by {found.num_gpus}, of {format_bytes(found.usable_memory_bytes)}"
    )
    missing = [
        one.over_bytes
        for one in found.spreads
        if one.method is SpreadMethod.RUN and one.over_bytes and not one.levers
    ]
    if missing:
        words += f"; the best takes {format_bytes(min(missing))} too much"
    return Text(words, style="bold red")


def _part(spread: SpreadTrial, usable_bytes: int) -> str:
    if spread.device_total_bytes is None:
        return _NOTHING
    return format_part(spread.device_total_bytes, usable_bytes)


def _ranked(spread: SpreadTrial) -> str:
    words = [spread.words]
    if spread.slower_factor is not None:
        words.append(f"x {format_significant(spread.slower_factor)} the time of the plan")
    if spread.device_total_bytes is not None:
        words.append(format_bytes(spread.device_total_bytes))
    return "; ".join(words)


def _heading(found: Parallelization) -> RenderableType:
    config = found.config
    optimizer = None if config.optimizer is None else config.optimizer.value
    words = ", ".join(("training", *step_words(config, optimizer, found.weight_dtypes)))
    batch = "" if found.global_batch is None else f", {found.global_batch} samples a step"
    return Group(
        Text(found.target, style="bold"),
        Text(
            f"{words}, on {counted(found.num_gpus, 'GPU')} of "
            f"{counted(found.num_hosts, 'host')}, {found.gpu_name}{batch}; by {found.by.value}"
        ),
        Text(software(found.versions)),
    )


def _table(found: Parallelization, run: list[SpreadTrial]) -> RenderableType:
    return FittedTable(
        columns=_COLUMNS,
        lines=[_cells(found, one) for one in run],
        left=_LEFT,
        left_out_first=_LEFT_OUT_FIRST,
        folded=0,
    )


def _cells(found: Parallelization, one: SpreadTrial) -> tuple[Text, ...]:
    style = "bold green" if one.state is SpreadState.FITS else "bold red"
    currency = "" if found.plan is None else found.plan.currency or ""
    texts = (
        _NOTHING if one.device_total_bytes is None else format_bytes(one.device_total_bytes),
        _NOTHING if not one.over_bytes else format_bytes(one.over_bytes),
        _NOTHING if one.step_s is None else format_duration(one.step_s),
        _NOTHING if one.samples_per_s is None else format_significant(one.samples_per_s),
        _NOTHING if one.slower_factor is None else f"x {format_significant(one.slower_factor)}",
        _NOTHING
        if one.cost_per_million is None
        else f"{format_range(one.cost_per_million, currency)} a million",
    )
    return (Text(one.words), Text(one.state.value, style=style), *map(Text, texts))


def _code(plan: ParallelPlan) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if plan.code:
        title = "in the model file"
        parts += [Text(), Text(title, style="bold"), Text("\n".join(plan.code))]
    if plan.script:
        title = "in the training script"
        parts += [Text(), Text(title, style="bold"), Text("\n".join(plan.script))]
    if plan.code and plan.code_flags != plan.flags:
        said = f"flags of planner for a file with this code: {' '.join(plan.code_flags)}"
        parts += [Text(), Text(said)]
    return parts


def _figures(plan: ParallelPlan) -> Iterator[str]:
    spread = plan.spread
    yield f"{counted(plan.global_batch, 'sample')} a step on all GPUs"
    if plan.next_batch_size is not None:
        yield f"a run on the full card fits, one with micro-batch {plan.next_batch_size} does not"
    else:
        yield "a run on the full card fits"
    if plan.rank_reason:
        yield f"figures of a card are those of rank {plan.worst_rank}: {plan.rank_reason}"
    if spread.step_s is not None:
        yield f"a step takes {format_duration(spread.step_s)}"
    if plan.samples_per_s_per_gpu is not None and spread.samples_per_s is not None:
        rates = format_significant(spread.samples_per_s), plan.samples_per_s_per_gpu
        yield f"{rates[0]} samples/s, {format_significant(rates[1])} for each GPU"
    if plan.tokens_per_s is not None and plan.tokens_per_s_per_gpu is not None:
        each = format_significant(plan.tokens_per_s_per_gpu)
        yield f"{format_significant(plan.tokens_per_s)} tokens/s, {each} for each GPU"
    if spread.cost_per_million is not None:
        yield f"{format_range(spread.cost_per_million, plan.currency or '')} a million samples"


def _held(found: Parallelization, held: HeldBytes) -> str:
    name = " + ".join(held.levers) or "as requested"
    parts = (
        ("parameters", held.parameter_bytes),
        ("gradients", held.gradient_bytes),
        ("optimizer state", held.optimizer_bytes),
    )
    listed = ", ".join(f"{format_bytes(size)} {part}" for part, size in parts if size)
    share = format_bytes(held.total_bytes // found.num_gpus)
    return f"{name}: {listed}; {share} a card over {found.num_gpus}"


def _smallest(found: Parallelization, job: SmallestJob) -> str:
    name = " + ".join(job.levers) or "as requested"
    if job.gpus is None or job.device_total_bytes is None:
        return f"{name}: none; {job.reason}"
    hosts = "" if (job.hosts or 1) == 1 else f" on {job.hosts} machines"
    size = f"{format_bytes(job.device_total_bytes)} each"
    if job.device_total_bytes > found.usable_memory_bytes:
        size = f"full; {size} where the allocator need not give cached memory back"
    return f"{name}: {counted(job.gpus, 'card')}{hosts}, {size}; {job.reason}"


def _others(found: Parallelization) -> Iterator[str]:
    for one in found.spreads:
        if one.method is SpreadMethod.RUN and one.state in (
            SpreadState.FITS,
            SpreadState.TOO_LARGE,
        ):
            continue  # in the table
        over = "" if not one.over_bytes else f", at least {format_bytes(one.over_bytes)} too much"
        yield f"{one.words}: {one.state.value}{over}{f'; {one.reason}' if one.reason else ''}"
