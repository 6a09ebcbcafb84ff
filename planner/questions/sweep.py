"""sweep(): a grid of targets, cards and options, on this machine or on a cluster.

matrix -> cases -> those without a row yet -> jobs -> an executor -> rows, kept one job at a time
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from planner._version import __version__
from planner.config.options import Progress
from planner.emulator.torch_install import find_torch
from planner.errors import ChildError, PlannerError, UsageError
from planner.hardware.database import load_gpus
from planner.memory.card_words import ALL_CARDS, OWN_CARD, named_cards
from planner.sweeps.case import SweepCase, SweepOutcome, SweepRow
from planner.sweeps.executors import executor_of
from planner.sweeps.export import write_results
from planner.sweeps.jobs import SweepJob, jobs_of, source_hash
from planner.sweeps.matrix import matrix_file, matrix_of, split_rows
from planner.sweeps.process import run_job
from planner.sweeps.result import SweepResult
from planner.sweeps.store import SweepStore, writing
from planner.units import counted, format_duration

_Rows = Sequence[Mapping[str, Any]]


def sweep(
    target: str | Sequence[str] = (),
    *,
    gpu: str | Sequence[str] = (),
    matrix: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    include: _Rows = (),
    exclude: _Rows = (),
    out: str | os.PathLike[str] | None = None,
    executor: str = "local",
    jobs: int | None = None,
    retry_failed: bool = False,
    on_progress: Progress | None = None,
    **options: Any,
) -> SweepResult:
    """Estimates each target on each card with each combination of options: a row for each case.

    A list is an axis of the grid: batch_size=[8, 32]. `matrix` is a YAML file or a dict with the
    same keys; what is given here replaces its axes. Rows are kept in the folder `out` as they come:
    with the same folder only missing cases are run, with `retry_failed` those that failed too. A
    case that fails is a row with its reason. Largest batches come from replays; with confirm=True
    from runs of each card, which take longer. `executor` is "local", "dask://HOST:PORT",
    "ray://HOST:PORT" or "slurm"; `jobs` limits the processes of this machine.

    Raises:
        PlannerError: see errors.py. A case that fails or does not fit is a row, not an error.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs must be at least 1, not {jobs}")
    cases = _cases({"target": target, "gpu": gpu, **options}, matrix, include, exclude)
    progress = on_progress or (lambda _: None)
    kept = (
        TemporaryDirectory(prefix="planner-sweep-") if out is None else nullcontext(os.fspath(out))
    )
    with kept as name, writing(Path(name)) as store:
        store.add_cases(cases)
        left = _left(cases, store.rows(), retry_failed=retry_failed, progress=progress)
        if left:
            with executor_of(executor, jobs=jobs, folder=Path(name)) as pool:
                _answer(jobs_of(left), pool, store, progress, executor)
        asked = {case.key for case in cases}
        rows = store.rows()
        if out is not None:
            write_results(Path(name), rows)
    found = {row.key: row for row in rows if row.key in asked}
    return SweepResult(
        rows=tuple(found[case.key] for case in cases), folder=None if out is None else Path(name)
    )


def _cases(
    given: Mapping[str, Any],
    matrix: str | os.PathLike[str] | Mapping[str, Any] | None,
    include: _Rows,
    exclude: _Rows,
) -> tuple[SweepCase, ...]:
    found: Mapping[str, Any] = {}
    if matrix is not None:
        found = matrix if isinstance(matrix, Mapping) else matrix_file(Path(matrix))
    axes, included, excluded = split_rows(found)
    in_file = matrix_of(axes, [*included, *include], [*excluded, *exclude])
    here = {name: value for name, value in given.items() if value not in ((), [])}
    own = matrix_of(here)
    return _on_known_cards(replace(in_file, axes={**in_file.axes, **own.axes}).cases())


def _on_known_cards(cases: Sequence[SweepCase]) -> tuple[SweepCase, ...]:
    """Returns the cases with each card by its name; "all" and "auto" become several.

    Raises:
        UnknownGpuError: a card is not in the database.
    """
    found: dict[str, SweepCase] = {}
    known: dict[tuple[str, str | None], tuple[str, ...]] = {}
    for case in cases:
        folder = json.loads(case.options).get("hardware_db")
        asked = (case.gpu, folder)
        if asked not in known:
            known[asked] = _names(case.gpu, None if folder is None else Path(folder))
        for name in known[asked]:
            one = replace(case, gpu=name)
            found.setdefault(one.key, one)
    return tuple(found.values())


def _names(gpu: str, hardware_db: Path | None) -> tuple[str, ...]:
    database = load_gpus(hardware_db)
    if gpu.lower() in (ALL_CARDS, OWN_CARD):
        return tuple(card.name for card in named_cards([gpu], database))
    database.find(gpu)
    return (gpu,)


def _left(
    cases: Sequence[SweepCase],
    kept: Sequence[SweepRow],
    *,
    retry_failed: bool,
    progress: Progress,
) -> list[SweepCase]:
    """Returns the cases to run: without a row, failed, or of a file that has changed."""
    by_key = {row.key: row for row in kept}
    hashes = {target: source_hash(target) for target in {case.target for case in cases}}
    left, changed, usable = [], 0, []
    for case in cases:
        row = by_key.get(case.key)
        if row is None or (retry_failed and row.outcome is SweepOutcome.FAILED):
            left.append(case)
        elif None is not row.source_sha256 != hashes[case.target]:
            left.append(case)
            changed += 1
        else:
            usable.append(row)
    if usable:
        progress(f"{counted(len(usable), 'case')} of {len(cases)} kept from before")
    if changed:
        progress(f"{counted(changed, 'case')} run again, because the target's file has changed")
    _note_versions(usable, progress)
    return left


def _note_versions(rows: Sequence[SweepRow], progress: Progress) -> None:
    """Says that kept rows were made with other versions than new ones will be."""
    try:
        here = (find_torch().version, __version__)
    except PlannerError:  # this machine has no torch: a cluster has
        return
    others = {(row.torch, row.planner) for row in rows if row.torch is not None} - {here}
    for torch, version in sorted(others, key=str):
        progress(
            f"kept rows were made with torch {torch} and planner {version}, here are {here[0]} and "
            f"{here[1]}; for rows of one version choose a new folder"
        )


def _answer(
    jobs: Sequence[SweepJob], pool: Executor, store: SweepStore, progress: Progress, name: str
) -> None:
    """Runs the jobs, and keeps the rows of each when it ends.

    Raises:
        OutputError: a row could not be written. ChildError: the executor is gone.
    """
    count = _Count(sum(len(job.cases) for job in jobs), len(jobs))
    progress(count.text())
    sent = {pool.submit(run_job, job.to_json()): job for job in jobs}
    try:
        for future in as_completed(sent):
            rows = _rows_of(sent.pop(future), future, name)
            store.keep(rows)
            count.add(rows)
            progress(count.text())
    except BaseException:
        for future in sent:
            future.cancel()
        pool.shutdown(wait=False)  # dask's has no cancel_futures
        raise


def _rows_of(job: SweepJob, future: Future[str], name: str) -> tuple[SweepRow, ...]:
    try:
        answer = future.result()
    except (CancelledError, BrokenExecutor, ConnectionError) as error:
        raise ChildError(
            f"executor {name} ended before all cases had an answer "
            f"({str(error) or type(error).__name__}); the rows so far are kept: start the same "
            "sweep again"
        ) from error
    except Exception as error:  # of the cluster: a worker that died, a planner that is not there
        first = (str(error).strip().splitlines() or [""])[0]
        return job.failed(f"{name}: {type(error).__name__}: {first}", type(error).__name__)
    return job.rows(answer)


class _Count:
    """Counts cases as they end, for the progress."""

    def __init__(self, cases: int, jobs: int) -> None:
        self._cases, self._jobs, self._jobs_done = cases, jobs, 0
        self._ended = dict.fromkeys(SweepOutcome, 0)
        self._began_s = time.monotonic()

    def add(self, rows: Sequence[SweepRow]) -> None:
        """Counts the rows of a job."""
        self._jobs_done += 1
        for row in rows:
            self._ended[row.outcome] += 1

    def text(self) -> str:
        """Returns the line of the progress, with rate and remaining time once they are known."""
        done = sum(self._ended.values())
        fits, other, failed = (self._ended[outcome] for outcome in SweepOutcome)
        line = f"{done} of {self._cases} cases; {fits} fit, {other} do not, {failed} failed"
        passed_s = time.monotonic() - self._began_s
        if not done or passed_s <= 0:
            return line
        if self._jobs_done == self._jobs:
            return f"{line}; took {format_duration(passed_s)}"
        left_s = passed_s / self._jobs_done * (self._jobs - self._jobs_done)
        rate = f"{done / passed_s * 60:.1f} cases a minute"
        return f"{line}; {rate}, about {format_duration(left_s)} left"
