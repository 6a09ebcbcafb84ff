"""Counts the operators of published steps once, and keeps them in the user's cache folder.

In: Cases. Out: operators by the name of the case, or the trouble instead. Convention: one gzipped
JSON file per case and set of versions; an interruption leaves only complete files.
"""

from __future__ import annotations

import hashlib
import json
import queue
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path

from benchmarks.record.environments import REPOSITORY, versions_of
from benchmarks.record.records import Step
from benchmarks.record.running import side_by_side
from benchmarks.throughput import forking, operators
from benchmarks.throughput.records import Case, Counted
from planner.process.environment import child_environment

_MODULE = "benchmarks.throughput.forking"
_LARGE = 150  # cases
_SHARE = 10  # one in so many networks of a large source comes early


def counted(
    cases: Sequence[Case], python: Path, *, jobs: int, only_known: bool = False
) -> Iterator[Counted]:
    """Yields each case with its operators, known ones first."""
    versions = versions_of(python)
    missing = []
    for case in ordered(cases):
        path = kept(case, versions)
        if path.is_file():
            yield _read(case, path)
        else:
            missing.append(case)
    if only_known or not missing:
        return
    kept(missing[0], versions).parent.mkdir(parents=True, exist_ok=True)
    with Servers(python=python).running() as servers:

        def count(case: Case) -> Counted:
            path = kept(case, versions)
            servers.count(case.step, path)
            return _read(case, path)

        yield from side_by_side(count, missing, jobs=jobs)


def kept(case: Case, versions: str) -> Path:
    """Returns the file of the operators of a case."""
    return kept_step(case.name, case.step, versions)


def kept_step(name: str, step: Step, versions: str) -> Path:
    """Returns the file of the counts of a step: its name has all that they depend on."""
    words = json.dumps(asdict(step), sort_keys=True)
    key = hashlib.sha256(f"{versions}\n{operators.fields()}\n{words}".encode()).hexdigest()[:16]
    folder = user_cache_path("vram-planner") / "benchmarks" / "throughput"
    return folder / f"{name}-{key}.json.gz"


def ordered(cases: Sequence[Case]) -> list[Case]:
    """Returns the cases in an order in which the first of them are a spread over sources and cards.

    Small sources come first, then a tenth of the networks of the large ones, then the rest.
    """
    numbers = Counter(case.source for case in cases)

    def place(case: Case) -> tuple[int, int, str]:
        drawn = int(hashlib.sha256(case.step.model.encode()).hexdigest(), 16)
        if numbers[case.source] <= _LARGE:
            return 0, drawn, case.name
        return (1 if drawn % _SHARE == 0 else 2), drawn, case.name

    return sorted(cases, key=place)


Variables = tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True)
class Servers:
    """Processes of benchmarks.throughput.forking, one for each step at a time.

    Libraries read the variables of a step while they are imported: each set has its processes.
    """

    python: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    free: dict[Variables, queue.SimpleQueue[subprocess.Popen[str]]] = field(default_factory=dict)

    def count(self, step: Step, path: Path) -> None:
        """Waits until the counts of a step are in their file, or the trouble."""
        free = self.free.setdefault(step.variables, queue.SimpleQueue())
        try:
            server = free.get_nowait()
        except queue.Empty:
            server = self._start(step.variables)
        answer = _ask(server, forking.asked(asdict(step), path))
        if answer:
            free.put(server)
        else:
            trouble = f"the counting process ended with {server.wait()}"
            operators.write(path, trouble)

    @contextmanager
    def running(self) -> Iterator[Servers]:
        """Ends the processes with the context."""
        try:
            yield self
        finally:
            for server in self.started:
                _stream(server.stdin).close()  # it ends after the step that it counts
            for server in self.started:
                server.wait()

    def _start(self, variables: Variables) -> subprocess.Popen[str]:
        server = subprocess.Popen(
            [str(self.python), "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=child_environment(dict(variables)),
        )
        self.started.append(server)
        return server


def _ask(server: subprocess.Popen[str], line: str) -> str:
    """Returns the answer to a line; empty if the process has ended."""
    try:
        print(line, file=_stream(server.stdin), flush=True)
    except BrokenPipeError:
        return ""
    return _stream(server.stdout).readline()


def _stream(found: IO[str] | None) -> IO[str]:
    assert found is not None, "it was asked for"
    return found


def _read(case: Case, path: Path) -> Counted:
    found = operators.read(path)
    if isinstance(found, str):
        return Counted(case=case, trouble=found)
    return Counted(case=case, operators=found.operators, counts=found)
