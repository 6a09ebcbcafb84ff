"""Printed reports that are kept, and shown again where nothing that they depend on has changed.

In: the words of the command line. Out: the text of its last report, with its exit code. Convention:
a report is kept only where each of its answers is (journal.py). This module loads quickly: a repeat
imports nothing that makes a report.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from planner._version import __version__
from planner.errors import PlannerError
from planner.process.environment import child_environment
from planner.process.kept.journal import Journal
from planner.process.kept.sources import PACKAGE, file_state, folder_digest
from planner.process.kept.state import Machine, environment_state
from planner.process.kept.store import OFF_VARIABLE, Store, limit_bytes, open_store
from planner.wire.reads import Reads

_FORMAT = 1  # of what is stored
_WIDTH = ("COLUMNS", "LINES")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a command has printed to stdout, and its exit code."""

    text: str
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesState:
    """The state of files: a digest of planner's own, and that of each other one by its path."""

    own_files: str
    files: Mapping[str, str]


class KeptReports:
    """The kept report of one command line in this folder, environment and terminal."""

    def __init__(self, store: Store, words: Sequence[str]) -> None:
        self._store = store
        self._name = f"reports/{_key_of(words)}"

    def find(self) -> Report | None:
        """Returns the report if it would be the same now."""
        content = self._store.read(self._name)
        if content is None:
            return None
        kept = json.loads(content)
        if kept["own_files"] != _own_files():
            return None
        if any(file_state(path) != state for path, state in kept["files"].items()):
            return None
        machine = Machine(environment=child_environment({}))
        for state, reads in kept["reads"].items():
            if machine.state(Reads(**reads)) != state:
                return None
        return Report(text=kept["text"], code=kept["code"])

    def keep(self, report: Report, journal: Journal, state: FilesState) -> None:
        """Keeps a report; `state` is that of the files that it depends on beside its reads."""
        if not journal.is_whole:
            return
        content = {
            "text": report.text,
            "code": report.code,
            "own_files": state.own_files,
            "files": state.files,
            "reads": {state: asdict(reads) for state, reads in journal.reads.items()},
        }
        with suppress(OSError, ValueError):  # it is made anew
            self._store.write(self._name, json.dumps(content).encode())


def kept_reports(words: Sequence[str]) -> KeptReports | None:
    """Returns the kept reports of these words; None where nothing may be kept."""
    if os.environ.get(OFF_VARIABLE):
        return None
    try:
        return KeptReports(open_store(), words) if limit_bytes() else None
    except (PlannerError, OSError):
        return None  # the command itself says why


def files_state(paths: Sequence[str | Path]) -> FilesState:
    """Returns the state of planner's own files and of those at `paths`, there or not."""
    files = {str(path): file_state(path) for path in paths}
    return FilesState(own_files=_own_files(), files=files)


def _own_files() -> str:
    """Returns a digest of planner with its records of hardware and models."""
    beside = PACKAGE.parent
    return folder_digest(PACKAGE, beside / "hardware_db", beside / "models" / "catalog")


def _key_of(words: Sequence[str]) -> str:
    known = {
        "format": _FORMAT,
        "planner": __version__,
        "words": [*words],
        "folder": os.getcwd(),
        "python": [sys.executable, sys.version, os.path.realpath(sys.executable)],
        "path": sys.path,
        "processors": [os.cpu_count(), len(os.sched_getaffinity(0))],
        "environment": environment_state(os.environ),
        "terminal": _terminal(),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:40]


def _terminal() -> list[object]:
    if not sys.stdout.isatty():
        return [sys.stdout.encoding]
    size = os.get_terminal_size(sys.stdout.fileno())
    return [sys.stdout.encoding, *size, *(os.environ.get(name) for name in _WIDTH)]
