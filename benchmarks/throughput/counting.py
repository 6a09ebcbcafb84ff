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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from benchmarks.record.environments import versions_of
from benchmarks.record.running import side_by_side, worker
from benchmarks.throughput.operators import operators_of
from benchmarks.throughput.records import Case, Counted

_MODULE = "benchmarks.throughput.operators"


def counted(
    cases: Sequence[Case], python: Path, *, jobs: int, only_known: bool = False
) -> Iterator[Counted]:
    """Yields each case with its operators, known ones first."""
    versions = versions_of(python)
    missing = []
    for case in cases:
        path = kept(case, versions)
        if path.is_file():
            yield _read(case, path)
        else:
            missing.append(case)
    if only_known:
        return

    def count(case: Case) -> Counted:
        ended = worker(python, _MODULE, [asdict(case.step)])
        found = ended.answers[0] if ended.answers else {"trouble": ended.trouble}
        path = kept(case, versions)
        _write(path, found)
        return _read(case, path)

    yield from side_by_side(count, missing, jobs=jobs)


def kept(case: Case, versions: str) -> Path:
    """Returns the file of the operators: its name has all that they depend on."""
    step = json.dumps(asdict(case.step), sort_keys=True)
    key = hashlib.sha256(f"{versions}\n{step}".encode()).hexdigest()[:16]
    folder = user_cache_path("vram-planner") / "benchmarks" / "throughput"
    return folder / f"{case.name}-{key}.json.gz"


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(gzip.compress(json.dumps(found).encode(), compresslevel=5, mtime=0))
    os.replace(partial, path)


def _read(case: Case, path: Path) -> Counted:
    found = json.loads(gzip.decompress(path.read_bytes()))
    if "operators" not in found:
        return Counted(case=case, trouble=found["trouble"])
    return Counted(case=case, operators=operators_of(found["operators"]))
