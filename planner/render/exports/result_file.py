"""Turns a card of an Estimate, at one batch, into the file of another program.

In: an Estimate with recordings, ResultFormat, card and batch. Out: the content of the file.
Convention: nothing is run; a batch that the result does not hold is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planner.errors import UsageError
from planner.render.exports.result_formats import ResultFormat
from planner.results.estimate import Estimate
from planner.results.result import Result
from planner.results.timelines import BatchFigures, timelines_of


def result_file(
    result: Result, form: ResultFormat, *, batch_size: int | None = None, gpu: str | None = None
) -> bytes:
    """Returns the content of the file: of the batch of the run and the first card if not said.

    Raises:
        UsageError: it is not an Estimate, has no recordings, not this card or not this batch.
        UnsupportedPlatformError: a package that the format needs is not installed.
    """
    if not isinstance(result, Estimate):
        raise UsageError(
            "only the result of `planner estimate` and `planner run` has memory to export: make "
            "one with `planner estimate ... --save FILE`"
        )
    entry = result.gpu(gpu)
    index = next(at for at, one in enumerate(result.gpus) if one is entry)
    timelines = timelines_of(result, index)
    batch = result.config.batch_size if batch_size is None else batch_size
    figures = timelines.at(batch, with_history=form is ResultFormat.MEMORY_SNAPSHOT)
    if form is ResultFormat.MEMORY_SNAPSHOT:
        from planner.render.exports.memory_snapshot import memory_snapshot

        return memory_snapshot(figures)
    if form is ResultFormat.PARQUET:
        from planner.render.exports.tables import parquet

        return parquet(figures.timeline)
    if form is ResultFormat.CSV:
        from planner.render.exports.tables import csv

        return csv(figures.timeline).encode()
    if form is ResultFormat.SPEEDSCOPE:
        from planner.render.exports.speedscope import speedscope

        return _json(speedscope(figures, f"{result.target} on {entry.name}"))
    return _trace(result, index, figures)


def _trace(result: Estimate, index: int, figures: BatchFigures) -> bytes:
    from planner.render.exports.chrome_trace import StepTimes, chrome_trace

    entry = result.gpus[index]
    is_of_the_run = figures.batch_size == result.config.batch_size
    times = StepTimes()
    if is_of_the_run:  # what is predicted of another batch is not in the result
        operators = result.operators[index] if index < len(result.operators) else None
        times = StepTimes(time=entry.time, operators=operators)
    about = {
        "target": result.target,
        "card": entry.name,
        "batch_size": figures.batch_size,
        "torch": result.versions.torch,
        "is_prediction": True,
    }
    return _json(chrome_trace(figures, times, about))


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
