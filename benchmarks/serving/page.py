"""Writes docs/serving-record.md.

In: all rows, those that were judged, constants. Out: the text of the page. Convention: errors of
the cache and the coverage are those with constants from the starts of other sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from benchmarks.record.statistics import error_statistics
from benchmarks.serving.cases import Row
from benchmarks.serving.judging import Judged
from planner.memory.serving.vllm_terms import FittedTerms
from planner.units import GIB

_HEAD = """# Serving, the record

<!-- Written by `python -m benchmarks.serving`; do not edit. -->

[`planner serving`](guides/serving.md) predicts the memory of a start of vLLM. Here are the
{all_rows} starts whose logs were found in public (issues, log files in repositories, pages), and
what was predicted for those whose model, card and settings are known. The figures are facts that
vLLM printed; the file is `benchmarks/measurements/vllm_kv_cache.csv`.

The cache of a start is the share of the card, less weights, less three terms that shapes do not
give: memory outside PyTorch, the peak of the profile run, CUDA graphs. Each of the three has a
small model whose constants are fitted to these starts. An error of the cache is (predicted -
printed) over the memory of the card, **with constants that were fitted without the source of the
row**; the interval too is that of the other sources. An error of tokens is relative, for the
printed size of the cache: it is that of the blocks and groups of layers alone. An error of weights
is relative.

The constants are held out, the forms are not: which terms there are, where a version changes them
(the sort, PCIe before and after 0.20, no sampling in V0 from 0.7 on), that the largest image of
Qwen's encoders is read at the start (two starts were 5.5 % off without it, one 1.2 %), and what was
taken for settings that a log does not show, was decided with these rows in view. New starts may be
worse.
One start, club-3090-1087-0, was judged at first (-4.4 %) and then left out, as others are whose
length and step are not said.

| | |
|---|---|
{summary}

| term | constant |
|---|---|
{constants}

"""
_CONSTANTS = {
    "alone": ("outside PyTorch, one rank", GIB, "GiB"),
    "ranks_by_switch": ("outside PyTorch, several ranks on NVLink", GIB, "GiB"),
    "ranks_by_bus": ("outside PyTorch, several ranks on PCIe, before 0.20", GIB, "GiB"),
    "ranks_by_bus_now": ("outside PyTorch, several ranks on PCIe, from 0.20 on", GIB, "GiB"),
    "sorted_logit": ("sampling with a sort, for each logit, up to 0.16", 1, "bytes"),
    "kernel_logit": ("sampling by a kernel, for each logit, from 0.17 on", 1, "bytes"),
    "forward_factor": ("a forward, over the widest tensors of a layer", 1, "times"),
    "graph": ("a CUDA graph, for each layer", 1 << 10, "KiB"),
}


def page(rows: Sequence[Row], found: Sequence[Judged], terms: FittedTerms) -> str:
    """Returns the page."""
    head = _HEAD.format(
        all_rows=len(rows),
        summary="\n".join(_summary(rows, found)),
        constants="\n".join(_constants(terms)),
    )
    return head + "\n".join([*_judged(found), "", *_left_out(rows)]) + "\n"


def _summary(rows: Sequence[Row], found: Sequence[Judged]) -> Iterable[str]:
    cache = [one.cache_error for one in found if one.cache_error is not None]
    tokens = [one.tokens_error for one in found if one.tokens_error is not None]
    inside = [one.is_inside for one in found if one.is_inside is not None]
    weights = [one.weights_error for one in found if one.weights_error is not None]
    usable = sum(row.trust in ("A", "B") for row in rows)
    yield f"| starts of trust A or B | {usable}; {len(found)} of them judged |"
    for name, errors in (("cache", cache), ("tokens", tokens), ("weights", weights)):
        statistics = error_statistics(errors)
        if statistics is not None:
            yield (
                f"| error of {name} | {statistics.number} starts: median {statistics.median:.2%}, "
                f"p90 {statistics.p90:.2%}, worst {statistics.worst:+.2%} |"
            )
    yield f"| inside the interval | {sum(inside)} of {len(inside)}, {_share(inside)} |"


def _share(inside: Sequence[bool]) -> str:
    return f"{sum(inside) / len(inside):.0%}" if inside else "none"


def _constants(terms: FittedTerms) -> Iterable[str]:
    for name, value in asdict(terms.constants).items():
        words, unit, unit_name = _CONSTANTS[name]
        yield f"| {words} | {value / unit:.3g} {unit_name} |"


def _judged(found: Sequence[Judged]) -> Iterable[str]:
    yield "## Judged"
    yield ""
    yield (
        "| start | model | card | version | cache printed | predicted | interval | error "
        "| tokens | weights | taken |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for one in found:
        yield _line(one)


def _line(one: Judged) -> str:
    row, case = one.start.row, one.start.case
    cache = one.memory.cache
    ends = f"{cache.low / GIB:.2f} to {cache.high / GIB:.2f}"
    if one.is_inside is False:
        ends += ", outside"
    ranks = case.config.tensor_parallel
    model = case.model.rpartition("/")[2] + (f", {case.config.quant}" if case.config.quant else "")
    cells = (
        row.case_id.replace("|", " "),
        model,
        f"{ranks} x {one.start.card.name}" if ranks > 1 else one.start.card.name,
        ".".join(map(str, case.config.version or ())),
        "-" if row.kv_gib is None else f"{row.kv_gib:.2f} GiB",
        f"{cache.middle / GIB:.2f} GiB",
        ends,
        _percent(one.cache_error),
        _percent(one.tokens_error),
        _percent(one.weights_error),
        case.taken,
    )
    return f"| {' | '.join(cells)} |"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2%}"


def _left_out(rows: Sequence[Row]) -> Iterable[str]:
    yield "## Not judged"
    yield ""
    yield "| start | model | trust | why |"
    yield "|---|---|---|---|"
    for row in rows:
        if row.case is None:
            yield f"| {row.case_id} | {row.model or '-'} | {row.trust} | {row.why_none} |"
