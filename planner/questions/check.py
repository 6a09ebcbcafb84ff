"""check(): the limits of a project, each against an estimate, and the difference to its lock file.

checks, lock
  -> checks with the same target and options share one estimate; as many estimates side by side as
     the memory of this machine allows
  -> per check and card: figures, limits, what grew since the lock
  -> BudgetReport
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from planner.config.check import Check
from planner.config.options import Progress
from planner.config.target import TargetKind, parse_target
from planner.errors import PlannerError
from planner.machine.host_limits import memory_room_bytes
from planner.machine.processes import terminate_children
from planner.preflight.source_names import definition_line, source_name
from planner.questions.estimate import estimate
from planner.results.budget import BudgetReport, CheckResult, card_check
from planner.results.budget_lock import Lock, LockedCheck
from planner.results.card_figures import figures_of
from planner.results.estimate import Estimate
from planner.units import GIB

# RAM for an estimate: this process, a child with torch, the runs forked from it. Measured (the sum
# of PSS): 0.47 GiB for a net of 1 M parameters, 0.50 GiB for GPT-2, 0.60 GiB for ResNet-50.
# The rest is for models that cannot be built without their weights.
_RAM_OF_AN_ESTIMATE_BYTES = 2 * GIB
_PROCESSORS_OF_AN_ESTIMATE = 2  # its runs and its counts go on at the same time


class _StoppedError(BaseException):
    """Ends an estimate in another thread; no handler of errors takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """An estimate, or the reason why there is none."""

    found: Estimate | None = None
    error: str | None = None


def check(
    checks: Sequence[Check],
    *,
    file: Path,
    lock: Lock | None = None,
    update: bool = False,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> BudgetReport:
    """Runs the estimates of all checks and compares them with their limits and the lock.

    `file` is the file of the checks; targets are relative to its folder, which is the working
    directory. Lines of code are named by their path in its repository. With `update` the caller
    writes the figures into the lock file: growth is accepted. `jobs` is the number of estimates at
    a time; None: as memory allows.
    """
    groups: dict[str, list[Check]] = {}
    for one in checks:
        groups.setdefault(_identity(one), []).append(one)
    asked = [alike[0] for alike in groups.values()]
    number = max(1, min(len(asked), jobs or side_by_side_number()))
    found = _answers(asked, number, on_progress or (lambda _: None))
    answers = dict(zip(groups, found, strict=True))
    kept, root = lock or Lock(), _repository(file.parent)
    return BudgetReport(
        file=os.path.relpath(file, root),
        checks=tuple(
            _result(one, answers[_identity(one)], file.parent, root, kept, is_updated=update)
            for one in checks
        ),
        is_locked=lock is not None,
        is_updated=update,
    )


def _repository(folder: Path) -> Path:
    """Returns the root of the repository that a folder is in; without one the folder."""
    every = (folder, *folder.parents)
    return next((one for one in every if os.path.lexists(one / ".git")), folder)


def _answers(asked: Sequence[Check], number: int, progress: Progress) -> list[_Answer]:
    """Returns the answers in order; when this process is ended, the estimates are too."""
    if number == 1:  # in this thread, which a signal unwinds
        return [_answer(one, progress) for one in asked]
    stopped = threading.Event()

    def show(text: str) -> None:
        if stopped.is_set():
            raise _StoppedError
        progress(text)

    pool = ThreadPoolExecutor(max_workers=number)
    try:
        return list(pool.map(lambda one: _answer(one, show), asked))
    except BaseException:
        stopped.set()  # an estimate that has no child yet ends where it next reports progress
        terminate_children()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def side_by_side_number() -> int:
    """Returns how many estimates this machine has memory and processors for; at least 1."""
    room_bytes = memory_room_bytes()
    by_memory = 1 if room_bytes is None else room_bytes // _RAM_OF_AN_ESTIMATE_BYTES
    by_processors = len(os.sched_getaffinity(0)) // _PROCESSORS_OF_AN_ESTIMATE
    return max(1, min(by_memory, by_processors))


def _identity(check: Check) -> str:
    return repr((check.target, sorted(check.options.items())))


def _answer(check: Check, progress: Progress) -> _Answer:
    try:
        return _Answer(
            found=estimate(check.target, **check.options, on_progress=_named(progress, check.name))
        )
    except PlannerError as error:
        return _Answer(error=str(error))


def _named(progress: Progress, name: str) -> Progress:
    """Returns a progress whose lines name the check before the card."""

    def show(text: str) -> None:
        card, separator, rest = text.partition(": ")
        progress(f"{name}, {card}: {rest}" if separator else f"{name}: {text}")

    return show


def _result(
    check: Check, answer: _Answer, folder: Path, root: Path, lock: Lock, *, is_updated: bool
) -> CheckResult:
    locked = lock.checks.get(check.name)
    file, line = _place(check.target, folder, root)
    found = answer.found
    return CheckResult(
        name=check.name,
        target=str(check.target),
        words=check.words,
        file=file,
        line=line,
        error=None if answer.error is None else _without_root(answer.error, root),
        versions=None if found is None else found.versions,
        locked_versions=None if locked is None else locked.versions,
        warnings=()
        if found is None
        else tuple(_without_root(text, root) for text in found.warnings),
        changed_words=() if locked is None else _changed(locked, check),
        cards=()
        if found is None
        else tuple(
            card_check(
                card.requested,
                figures_of(card, partial(source_name, root=root)),
                check.limits,
                lock.figures(check.name, card.requested),
                is_updated=is_updated,
            )
            for card in found.gpus
        ),
    )


def _without_root(text: str, root: Path) -> str:
    """Returns the text without the folder of the project: it differs from machine to machine."""
    return text.replace(f"{os.path.realpath(root)}/", "").replace(f"{root}/", "")


def _changed(locked: LockedCheck, check: Check) -> tuple[tuple[str, str | None, str | None], ...]:
    old = {"target": locked.target, **dict(locked.words)}
    new = {"target": str(check.target), **dict(check.words)}
    return tuple(
        (name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def _place(target: str, folder: Path, root: Path) -> tuple[str | None, int]:
    """Returns the file of the target in the project and the line of its model."""
    try:
        parsed = parse_target(str(target))
    except PlannerError:
        return None, 1
    if parsed.kind is not TargetKind.FILE:
        return None, 1
    named = source_name(f"{folder / parsed.location}:1", root)
    if not named.is_inside:
        return None, 1
    line = definition_line(folder / parsed.location, parsed.name)
    return named.place.rpartition(":")[0], line
