"""Runs the predictions in worker processes, each with the cases of one model.

In: Cases of one source. Out: Results, as they come. Convention: a worker that dies leaves
predictions that say so; no case is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.accuracy.records import Case, Prediction, Result
from benchmarks.record.environments import versions_of
from benchmarks.record.running import side_by_side, worker

_MODULE = "benchmarks.accuracy.predicting"


def groups(cases: Iterable[Case]) -> list[list[Case]]:
    """Groups the cases by the child that predicts them, in order of first appearance."""
    found: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        found.setdefault(case.group, []).append(case)
    return list(found.values())


def run(cases: Sequence[Case], python: Path, *, jobs: int) -> Iterator[Result]:
    """Yields a Result for each case, model by model, with `jobs` workers in parallel."""

    def results(group: Sequence[Case]) -> list[Result]:
        ended = worker(python, _MODULE, [asdict(case) for case in group])
        found = {one.case: one for one in (Prediction(**answer) for answer in ended.answers)}
        return [
            Result(
                case=case,
                prediction=found.get(case.name, Prediction(case=case.name, trouble=ended.trouble)),
                versions=versions_of(python),
            )
            for case in group
        ]

    for found in side_by_side(results, groups(cases), jobs=jobs):
        yield from found
