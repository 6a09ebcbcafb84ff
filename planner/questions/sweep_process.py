"""The process of a job of a sweep: one line of JSON on stdin, the rows on stdout.

In: SweepJob. Out: its rows. Convention: cards of one compute capability share their runs, as with
`--gpu all`, but each chip has its own peaks; with `confirm` each card has all runs of its own.
It ends when its parent has closed stdin.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from planner.errors import ChildError, ChildTimeoutError, ModelError, PlannerError
from planner.estimation.request import estimate_request
from planner.estimation.session import estimation_session
from planner.hardware.database import load_gpus
from planner.questions.estimate import estimate_on_cards
from planner.sweeps.answers import answered_rows
from planner.sweeps.case import SweepCase, SweepRow, failed_row
from planner.sweeps.jobs import SweepJob, answer_of, source_hash
from planner.sweeps.words import CONFIRM

_LOST_ITS_PARENT = 1


def main() -> int:
    """Answers one job."""
    began_s = time.monotonic()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed from here on is no answer
    job = SweepJob.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _end)
    source = source_hash(job.target)
    rows = answered(job.cases)
    measured: dict[str, Any] = {
        "run_s": time.monotonic() - began_s,
        "run_processor_s": _processor_s(),
        "source_sha256": source,
    }
    answers.write(answer_of([replace(row, **measured) for row in rows]))
    answers.close()
    return 0


def answered(cases: Sequence[SweepCase]) -> list[SweepRow]:
    """Returns a row for each case of a target with the same options."""
    first = cases[0]
    options: dict[str, Any] = json.loads(first.options)
    search = options.pop("max_batch", True)
    confirm = options.pop(CONFIRM, False)
    try:
        asked = estimate_request(first.target, **options)
        with estimation_session(asked, [case.gpu for case in cases]) as step:
            found = estimate_on_cards(step, is_survey=not confirm, search=search)
        return answered_rows(cases, found)
    except PlannerError as error:
        groups = _by_capability(cases, options.get("hardware_db"))
        if _may_be_of_one_card(error) and len(groups) > 1:
            # One kind of card must not take the answers of the others with it.
            by_key = {row.key: row for group in groups for row in answered(group)}
            return [by_key[case.key] for case in cases]
        return [failed_row(case, _reason(error), type(error).__name__) for case in cases]


def _may_be_of_one_card(error: PlannerError) -> bool:
    return isinstance(error, (ModelError, ChildError)) and not isinstance(error, ChildTimeoutError)


def _by_capability(cases: Sequence[SweepCase], hardware_db: str | None) -> list[list[SweepCase]]:
    """Returns the cases in groups that share their runs; one group where a card is not known."""
    groups: dict[Any, list[SweepCase]] = {}
    try:
        gpus = load_gpus(None if hardware_db is None else Path(hardware_db))
        for case in cases:
            groups.setdefault(gpus.find(case.gpu).spec.compute_capability, []).append(case)
    except PlannerError:
        return [list(cases)]
    return list(groups.values())


def _reason(error: PlannerError) -> str:
    frames = error.frames.strip() if isinstance(error, ModelError) else ""
    return f"{error}\n{frames}" if frames else str(error)


def _processor_s() -> float:
    """Returns the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends this process at once
    sys.exit(128 + number)  # unwinds the stack, which ends the child


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(_LOST_ITS_PARENT)
