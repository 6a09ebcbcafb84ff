"""Runs the predictions in worker processes, each with the cases of one model.

In: Cases. Out: Results, as they come. Convention: a worker that dies leaves predictions that say
so; no case is dropped.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import planner
from benchmarks.accuracy.records import Case, Prediction, Result
from benchmarks.accuracy.sources import SOURCES
from benchmarks.accuracy.worker import encoded, prediction_of
from benchmarks.environments import interpreter, worker

_MODULE = "benchmarks.accuracy.worker"
# Prints the versions on which a prediction depends, besides planner, in their interpreter.
_ASK_VERSIONS = """
from importlib.metadata import distributions
wanted = ("torch", "nvidia-cudnn-cu", "timm", "transformers")
found = {one.metadata["Name"].lower(): one.version for one in distributions()}
print(", ".join(f"{n} {v}" for n, v in sorted(found.items()) if n.startswith(wanted)
      and n.rstrip("0123456789") in wanted))
"""


@cache
def python_of(environment: str) -> Path:
    """Returns the interpreter of an environment, made at the first call."""
    return interpreter(environment)


@cache
def versions_of(environment: str) -> str:
    """Returns names and versions of the packages on which predictions in it depend."""
    command = [str(python_of(environment)), "-c", _ASK_VERSIONS]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return f"planner {planner.__version__}, {said}"


def groups(cases: Iterable[Case]) -> list[list[Case]]:
    """Groups the cases by the child that predicts them, in order of first appearance."""
    found: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        found.setdefault(case.group, []).append(case)
    return list(found.values())


def run(cases: Sequence[Case], *, jobs: int) -> Iterator[Result]:
    """Yields a Result for each case, model by model, with `jobs` workers in parallel."""
    pool = ThreadPoolExecutor(max_workers=jobs)
    waiting = [pool.submit(_results, group) for group in groups(cases)]
    try:
        for done in as_completed(waiting):
            yield from done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _results(group: Sequence[Case]) -> list[Result]:
    environment = SOURCES[group[0].source].environment
    versions = versions_of(environment)
    asked = json.dumps([encoded(case) for case in group])
    ended = worker(python_of(environment), _MODULE, asked)
    found = {one.case: one for one in map(prediction_of, ended.lines)}
    return [
        Result(
            case=case,
            prediction=found.get(case.name, Prediction(case=case.name, trouble=ended.trouble)),
            versions=versions,
        )
        for case in group
    ]
