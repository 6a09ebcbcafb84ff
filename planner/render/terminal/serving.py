"""A ServingPlan as a report for people: does it start, what the cache holds, memory by part.

In: ServingPlan. Out: a renderable. Convention: plain ASCII; figures are rounded; the JSON has them
whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from planner.config.serving import EngineName
from planner.memory.serving.engine import MemoryPart, PartKind
from planner.render.terminal.layout import FittedTable, closing, verdict_lines, warning_line
from planner.render.terminal.serving_speed import speed_lines
from planner.results.serving import BootVerdict, ServingChoice, ServingPlan
from planner.units import counted, format_bytes, format_significant

_PARTS = {
    PartKind.WEIGHTS: "weights",
    PartKind.ADAPTERS: "adapters",
    PartKind.DRAFT: "draft model",
    PartKind.OUTSIDE: "outside PyTorch",
    PartKind.ACTIVATIONS: "activations",
    PartKind.GRAPHS: "CUDA graphs",
    PartKind.CACHE: "cache",
}
_VERDICTS = {
    BootVerdict.STARTS: "starts",
    BootVerdict.LIKELY: "likely starts: with the least cache of the interval it does not",
    BootVerdict.UNLIKELY: "likely does not start: only with the greatest cache of the interval",
    BootVerdict.FAILS: "does not start",
}


def render(found: ServingPlan, *, verbose: bool = False) -> RenderableType:
    """Returns the report: the verdict, the memory by part, what would make it start."""
    parts: list[RenderableType] = [
        verdict_lines(_verdict(found)),
        Text(),
        _heading(found),
        Text(),
        _table(found),
    ]
    sections = (
        ("what would make it start", list(_remedies(found))),
        (_searched(found), list(_choices(found))),
        ("settings", [_setting(found, place) for place in range(len(found.settings))]),
    )
    return Group(*parts, *closing(sections, found, verbose=verbose))


def _verdict(found: ServingPlan) -> list[tuple[str, Text]]:
    style = "bold green" if found.fits else "bold red"
    words = _VERDICTS[found.verdict]
    if found.load is not None:
        starts = found.verdict.is_expected
        words += f" and holds {_load(found)}" if starts else f" or hold {_load(found)}"
    lines = [
        (found.gpu, Text(f"{words}; {_cache(found)}", style=style)),
        *speed_lines(found.speed),
        *_beside(found),
        ("requests", Text(_requests(found))),
        ("longest", Text(_longest(found))),
        ("start", Text(found.command)),
    ]
    return [*lines, *warning_line(found)]


def _beside(found: ServingPlan) -> Iterator[tuple[str, Text]]:
    if found.beside_bytes:
        share = next((one for one in found.settings if one.name == "gpu-memory-utilization"), None)
        left = "" if share is None else f"; the engine's share is {share.value}"
        yield "beside", Text(f"{format_bytes(found.beside_bytes)} of something else{left}")


def _load(found: ServingPlan) -> str:
    assert found.load is not None, "there is a load"
    answer = f" + {found.load.output}" if found.load.output else ""
    return f"{counted(found.load.users, 'request')} of {found.load.prompt}{answer} tokens"


def _cache(found: ServingPlan) -> str:
    what = "memory for the cache" if found.engine is EngineName.LLAMACPP else "cache"
    if found.cache.middle < 0:
        return f"{format_bytes(-found.cache.middle)} too little before any cache"
    if not found.has_cache:
        return f"{format_bytes(found.cache.middle)} stay free, since an encoder keeps no tokens"
    size = f"{what} {format_bytes(found.cache.middle)}"
    if found.has_interval:
        low, high = max(0, found.cache.low), found.cache.high
        size += f" ({format_bytes(low)} to {format_bytes(high)})"
    return f"{size}, {found.middle.tokens:,} tokens"


def _requests(found: ServingPlan) -> str:
    if not found.has_cache:
        return f"{found.middle.requests:.0f} of {found.max_model_len:,} tokens in a step"
    at_once = format_significant(found.middle.requests)
    if found.has_interval:
        ends = (format_significant(found.low.requests), format_significant(found.high.requests))
        at_once += f" ({ends[0]} to {ends[1]})"
    words = f"{at_once} at once of {found.max_model_len:,} tokens"
    if found.max_sequences is not None and found.engine is not EngineName.LLAMACPP:
        words += f"; at most {found.max_sequences} in a step"
    return words


def _longest(found: ServingPlan) -> str:
    words = f"{found.middle.longest:,} tokens in one request"
    if found.has_interval and found.low.longest != found.middle.longest:
        words += f" ({found.low.longest:,} with the least cache)"
    return words


def _heading(found: ServingPlan) -> RenderableType:
    cards = found.gpu_name if found.tensor_parallel == 1 else (
        f"{counted(found.tensor_parallel, 'card')}, {found.gpu_name}"
    )  # fmt: skip
    return Group(
        Text(found.target, style="bold"),
        Text(
            f"{found.engine.value} {found.engine_version} on {cards}; {found.quant}; "
            f"cache in {found.kv_dtype}"
        ),
    )


def _table(found: ServingPlan) -> RenderableType:
    rows = [
        (_PARTS[part.kind], part.size_bytes, _remark(part, found))
        for part in found.parts
        if part.size_bytes
    ]
    name = _PARTS[PartKind.CACHE] if found.has_cache else "left"
    rows.append((name, max(0, found.cache.middle), ""))
    rows.append(("budget", found.budget_bytes, found.budget_words))
    return FittedTable(
        columns=("on one card", "size", ""),
        lines=[(Text(name), Text(format_bytes(size)), Text(words)) for name, size, words in rows],
        left=(0, 2),
        left_out_first=(2,),
        folded=2,
    )


def _remark(part: MemoryPart, found: ServingPlan) -> str:
    if not part.is_budgeted:
        return "beside the budget"
    has_tensors = found.is_own_start and part.kind is PartKind.OUTSIDE
    return "and tensors of the engine" if has_tensors else ""


def _remedies(found: ServingPlan) -> Iterator[str]:
    for one in found.remedies:
        requests = format_significant(one.requests)
        yield f"{' '.join(one.flags)}: {one.words}; then at least {requests} requests at once"
    if not found.remedies and found.verdict is not BootVerdict.STARTS:
        yield "no single change that is known here is enough: combine them, or take larger cards"


def _choices(found: ServingPlan) -> Iterator[str]:
    for one in found.choices:
        rent = "" if one.usd_per_hour is None else f", {format_significant(one.usd_per_hour)} USD/h"
        yield (
            f"{one.tensor_parallel} x {one.gpu}: {format_bytes(one.total_bytes)}, at least "
            f"{format_significant(one.requests)} requests at once{rent}{_speed(one)}"
        )
    if found.searched and not found.choices:
        yield "none of the database, up to 8 of a kind"


def _searched(found: ServingPlan) -> str:
    is_cost = any(one.cost_per_million is not None for one in found.choices)
    return "cards that serve it, cheapest tokens first" if is_cost else (
        "smallest cards that serve it"
    )  # fmt: skip


def _speed(one: ServingChoice) -> str:
    if one.output_tokens_per_s is None:
        return ""
    cost = one.cost_per_million
    money = "" if cost is None else f", {format_significant(cost)} USD for a million"
    return f"; {one.output_tokens_per_s:,.0f} tokens/s{money}"


def _setting(found: ServingPlan, place: int) -> str:
    one = found.settings[place]
    return f"{one.name} {one.value}{' (given)' if one.is_given else ''}"
