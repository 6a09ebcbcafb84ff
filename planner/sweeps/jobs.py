"""Jobs of a sweep: the cases of one target with one set of options, on all their cards.

In: cases. Out: jobs, and the JSON that goes to the process of a job and comes back. Convention: the
rows of a job are made and kept together, so that a run that cards share is never split.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from planner.sweeps.case import SweepCase, SweepRow, failed_row


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepJob:
    """Cases that one estimate answers. `folder` is the working directory of the sweep."""

    cases: tuple[SweepCase, ...]
    folder: str

    @property
    def target(self) -> str:
        """Returns the target of the cases."""
        return self.cases[0].target

    def to_json(self) -> str:
        """Returns the text for the process of the job, on one line."""
        first = self.cases[0]
        gpus = [case.gpu for case in self.cases]
        return json.dumps(
            {"target": first.target, "options": first.options, "gpus": gpus, "folder": self.folder}
        )

    @classmethod
    def from_json(cls, text: str) -> SweepJob:
        """Returns the job of such a text."""
        found = json.loads(text)
        return cls(
            cases=tuple(
                SweepCase(target=found["target"], gpu=gpu, options=found["options"])
                for gpu in found["gpus"]
            ),
            folder=found["folder"],
        )

    def rows(self, answer: str) -> tuple[SweepRow, ...]:
        """Returns a row for each case, from the text that came back."""
        found = {row.gpu: row for row in (SweepRow.from_record(one) for one in json.loads(answer))}
        missing = "the process of this case gave no answer for the card"
        return tuple(
            stamped(
                replace(found[case.gpu], key=case.key)
                if case.gpu in found
                else failed_row(case, missing, "ChildError"),
                len(self.cases),
            )
            for case in self.cases
        )

    def failed(self, reason: str, error: str) -> tuple[SweepRow, ...]:
        """Returns rows without an answer for all cases."""
        return tuple(
            stamped(failed_row(case, reason, error), len(self.cases)) for case in self.cases
        )


def stamped(row: SweepRow, run_cases: int) -> SweepRow:
    """Returns the row with what the sweep itself knows: now, the cases with it, the file's hash."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return replace(row, ended_at=now, run_cases=run_cases)


def answer_of(rows: Sequence[SweepRow]) -> str:
    """Returns the text that the process of a job gives back."""
    return json.dumps([row.to_record() for row in rows])


def jobs_of(cases: Sequence[SweepCase]) -> tuple[SweepJob, ...]:
    """Returns the jobs of the cases, in their order."""
    alike: dict[tuple[str, str], list[SweepCase]] = {}
    for case in cases:
        alike.setdefault((case.target, case.options), []).append(case)
    folder = os.getcwd()
    return tuple(SweepJob(cases=tuple(group), folder=folder) for group in alike.values())


def source_hash(target: str) -> str | None:
    """Returns the hash of the file that a target names; None where it names none.

    Modules that the file imports are not part of it.
    """
    for name in (target, target.rpartition(":")[0]):
        path = Path(name) if name else None
        try:
            if path is not None and path.is_file():
                return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return None
    return None
