"""Writes docs/serving-speed-record.md.

In: every figure, judged with constants from the other sources, and the constants. Out: the text of
the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import median
from typing import Any

from benchmarks.serving.speed_cases import LoadKind
from benchmarks.serving.speed_judging import Figure, SpeedJudged

_HEAD = """# Speed of serving, the record

<!-- Written by `python -m benchmarks.serving`; do not edit. -->

[`planner serving`](guides/serving.md#speed) predicts how fast an engine serves a load. Here are the
{figures} figures of {sources} sources that were found in public, and what was predicted for each:
tables of TensorRT-LLM and NVIDIA NIM, pages and issues with runs of vLLM and SGLang. The file is
`benchmarks/measurements/serving_speed.csv`; it has the address of each.

**Ratio** is published over predicted seconds: 1.2 is an engine that was 20 % slower than predicted.
Products, attention and the other kernels have the times of [measured kernels](kernels.md), nothing
of which was fitted to these loads. What the CPU of an engine adds is: a time for each step, for
each request of a step and for the way of a request, chosen for an engine from short lists. Each row
below is judged **with constants from the other sources**, so a source that is alone has none of its
engine. The form was decided with these rows in view: new loads may be worse.

What a log does not say was taken by default, as the last column says. Runs of people differ by the
version, the client, the CPU and the sampling of the engine, and none of these is predicted: vLLM
0.11 on an H100 took 1.8 to 2.3 times as long as predicted with one model (gpustack Qwen3-14B), and
1.1 to 1.4 times with another.

| engine | load | figure | number | median ratio | p10 to p90 | median error |
|---|---|---|---|---|---|---|
{summary}

`steady` loads have a fixed number of users, `most` as many requests as the engine takes, a `batch`
is one of TensorRT-LLM in 2023 or of vLLM's nightly runs, read and written together. Batches do not
count for the intervals of tokens, since engines serve otherwise now.

| engine | each step | each request of it | a layer outside of a graph | way of a request |
|---|---|---|---|---|
{constants}

The time to the first token under a load lies between users who ask one by one, which the estimate
takes, and users who all ask at once: the last column of such rows has that second figure, in the
mean. {between} of {loads} are between 0.7 times the first and 1.5 times the second.

"""


def speed_page(judged: Sequence[SpeedJudged], document: Mapping[str, Any]) -> str:
    """Returns the page."""
    loads = [one for one in judged if one.figure is Figure.FIRST_OF_LOAD]
    between = sum(
        0.7 * one.predicted <= one.published <= 1.5 * (one.at_once_s or one.predicted)
        for one in loads
    )
    head = _HEAD.format(
        figures=len(judged),
        sources=len({one.row.source for one in judged}),
        summary="\n".join(_summary(judged)),
        constants="\n".join(_constants(document)),
        between=between,
        loads=len(loads),
    )
    return head + "\n".join(_rows(judged)) + "\n"


def _summary(judged: Sequence[SpeedJudged]) -> Iterable[str]:
    def key(one: SpeedJudged) -> tuple[str, str, str]:
        return one.row.config.engine.value, one.row.kind.value, one.figure.value

    for (engine, kind, figure), group in groupby(sorted(judged, key=key), key=key):
        ratios = sorted(one.ratio for one in group)
        last = len(ratios) - 1
        error = median(abs(ratio - 1) for ratio in ratios)
        yield (
            f"| {engine} | {kind} | {figure} | {len(ratios)} | {median(ratios):.2f} "
            f"| {ratios[round(0.1 * last)]:.2f} to {ratios[round(0.9 * last)]:.2f} | {error:.0%} |"
        )


def _constants(document: Mapping[str, Any]) -> Iterable[str]:
    for engine, terms in document.items():
        host = terms["host"]
        yield (
            f"| {engine} | {host['step_us']:.0f} us | {host['request_us']:.0f} us "
            f"| {host['layer_us']:.0f} us | {host['first_us'] / 1000:.1f} ms |"
        )


def _rows(judged: Sequence[SpeedJudged]) -> Iterable[str]:
    yield "## Every figure"
    yield ""
    yield (
        "| source | engine | model | cards | users x tokens | figure | published | predicted "
        "| ratio | notes |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for one in judged:
        yield _line(one)


def _line(one: SpeedJudged) -> str:
    row, config = one.row, one.row.config
    model = row.model.rpartition("/")[2] + (f", {config.quant}" if config.quant else "")
    load = row.name + (", batch" if row.kind is LoadKind.BATCH else "")
    notes = [row.note] if row.note else []
    if one.figure is Figure.FIRST_OF_LOAD and one.at_once_s is not None:
        notes.append(f"all at once: {_amount(one, one.at_once_s)}")
    cells = (
        f"[{row.source}]({row.url})",
        config.engine.value,
        model,
        f"{config.tensor_parallel} x {row.card}",
        load,
        one.figure.value,
        _amount(one, one.published),
        _amount(one, one.predicted),
        f"{one.ratio:.2f}",
        "; ".join(notes),
    )
    return f"| {' | '.join(cells)} |"


def _amount(one: SpeedJudged, value: float) -> str:
    if one.figure is Figure.TOKENS:
        return f"{value:,.0f}"
    return f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"
