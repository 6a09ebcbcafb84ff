"""Runs workers side by side.

In: what each is to answer. Out: their answers, as they come. Convention: a worker that dies leaves
a sentence that says so.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.record.environments import REPOSITORY

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The answers of a worker, and in words how it ended."""

    answers: tuple[dict[str, Any], ...]
    trouble: str


def worker(python: Path, module: str, asked: object) -> Ended:
    """Runs `answers` of a module of the benchmarks in an environment."""
    ended = subprocess.run(
        [str(python), "-m", "benchmarks.record.worker", module],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
    return Ended(
        answers=tuple(
            json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")
        ),
        trouble=f"the worker ended with {ended.returncode}: {last[:200]}",
    )


def side_by_side(
    work: Callable[[_Item], _Done], items: Iterable[_Item], *, jobs: int
) -> Iterator[_Done]:
    """Yields the work on each item as it ends, with `jobs` of them at a time."""
    pool = ThreadPoolExecutor(max_workers=jobs)
    waiting = [pool.submit(work, item) for item in items]
    try:
        for done in as_completed(waiting):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
