"""Counts the operators of published steps once, and keeps them in the user's cache folder.

In: Cases. Out: operators by the name of the case, or the trouble instead. Convention: one gzipped
JSON file per case and set of versions; an interruption leaves only complete files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from benchmarks.accuracy.running import versions_of
from benchmarks.environments import REPOSITORY, interpreter, worker
from benchmarks.throughput.records import Case, operators_of
from planner.wire.trace import OperatorRecord

_ENVIRONMENT = "current"
_MODULE = "benchmarks.throughput.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The operators of one step; `trouble` says why there are none."""

    case: Case
    operators: tuple[OperatorRecord, ...] = ()
    trouble: str = ""


def counted(cases: Sequence[Case], *, jobs: int, only_known: bool = False) -> Iterator[Counted]:
    """Yields each case with its operators, known ones first."""
    python, versions = interpreter(_ENVIRONMENT), versions_of(_ENVIRONMENT)
    missing = []
    for case in cases:
        path = _path(case, versions)
        if path.is_file():
            yield _read(case, path)
        else:
            missing.append(case)
    if only_known:
        return
    pool = ThreadPoolExecutor(max_workers=jobs)
    waiting = {pool.submit(_count, case, python, versions): case for case in missing}
    try:
        for done in as_completed(waiting):
            done.result()
            yield _read(waiting[done], _path(waiting[done], versions))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _path(case: Case, versions: str) -> Path:
    key = hashlib.sha256(f"{versions}\n{_step(case)}".encode()).hexdigest()[:16]
    folder = user_cache_path("vram-planner") / "benchmarks" / "throughput"
    return folder / f"{case.name}-{key}.json.gz"


def _step(case: Case) -> str:
    """Returns all that the operators of a case depend on."""
    document = json.loads(case.document())
    for key in ("measured_s", "source", "name", "tf32"):
        del document[key]
    document["model_file"] = os.path.relpath(case.model_file, REPOSITORY)
    return json.dumps(document, sort_keys=True)


def _count(case: Case, python: Path, versions: str) -> None:
    ended = worker(python, _MODULE, case.document() + "\n")
    found: dict[str, Any] = (
        json.loads(ended.lines[0]) if ended.lines else {"trouble": ended.trouble}
    )
    path = _path(case, versions)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(gzip.compress(json.dumps(found).encode(), compresslevel=5, mtime=0))
    os.replace(partial, path)


def _read(case: Case, path: Path) -> Counted:
    found = json.loads(gzip.decompress(path.read_bytes()))
    if "operators" not in found:
        return Counted(case=case, trouble=found["trouble"])
    return Counted(case=case, operators=operators_of(found["operators"]))
