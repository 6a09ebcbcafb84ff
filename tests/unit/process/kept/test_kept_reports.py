"""Reports that are kept: each thing that one depends on makes it be printed anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.process.kept import journal, reports
from planner.process.kept.journal import Journal
from planner.process.kept.reports import KeptReports, Report, files_state, kept_reports
from planner.process.kept.state import Machine
from planner.process.kept.store import Store
from planner.wire.reads import Reads

WORDS = ("estimate", "net.py", "--gpu", "t4")
REPORT = Report(text="NVIDIA T4: fits\n", code=3)


class Place:
    """A folder with a model file, a file of defaults that is not there, and planner's own files."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.model, self.defaults = root / "net.py", root / "planner.toml"
        self.own = root / "package" / "code.py"
        self.own.parent.mkdir()
        self.own.write_text("")
        self.model.write_text("WIDTH = 1")
        self.store = Store(folder=root / "answers")
        patch.setattr(reports, "PACKAGE", self.own.parent)
        patch.setenv("NET_DEPTH", "2")
        patch.chdir(root)
        self.patch = patch

    def keep(self, words: tuple[str, ...] = WORDS) -> None:
        reads = Reads(modules=(str(self.model),), variables=("NET_DEPTH",))
        written = Journal()
        written.note(reads, Machine(environment=os.environ).state(reads))
        KeptReports(self.store, words).keep(REPORT, written, files_state([self.defaults]))

    def find(self, words: tuple[str, ...] = WORDS) -> Report | None:
        return KeptReports(self.store, words).find()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, monkeypatch)
    made.keep()
    return made


def test_it_is_found_again(place: Place) -> None:
    assert place.find() == REPORT


CHANGES: dict[str, Callable[[Place], object]] = {
    "the user's code": lambda place: place.model.write_text("WIDTH = 2"),
    "a file of defaults appears": lambda place: place.defaults.write_text(""),
    "planner's own code": lambda place: place.own.write_text("x"),
    "a file of planner appears": lambda place: (place.own.parent / "more.yaml").write_text(""),
    "a variable": lambda place: place.patch.setenv("NET_DEPTH", "3"),
    "another variable": lambda place: place.patch.setenv("NO_COLOR", "1"),
    "the folder": lambda place: place.patch.chdir("package"),
    "sys.path": lambda place: place.patch.setattr(sys, "path", [*sys.path, "/elsewhere"]),
    "the interpreter": lambda place: place.patch.setattr(sys, "executable", "/usr/bin/python4"),
    "planner's version": lambda place: place.patch.setattr(reports, "__version__", "0"),
    "processors": lambda place: place.patch.setattr(os, "sched_getaffinity", lambda _: {0} | {9}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_not_found_after_a_change(place: Place, change: str) -> None:
    if change == "processors":
        place.patch.setattr(os, "cpu_count", lambda: 99)
    else:
        CHANGES[change](place)
    assert place.find() is None


def test_other_words_have_another_one(place: Place) -> None:
    assert place.find((*WORDS, "--json")) is None


def test_a_shell_changes_nothing(place: Place) -> None:
    place.patch.setenv("SHLVL", "7")
    assert place.find() == REPORT


def test_the_width_of_a_terminal_counts(place: Place) -> None:
    place.patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    place.patch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    place.patch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((80, 24)))
    place.keep()
    assert place.find() == REPORT
    place.patch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((120, 24)))
    assert place.find() is None


def test_a_broken_file_is_no_report(place: Place) -> None:
    (file,) = (place.store.folder / "reports").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert place.find() is None


def test_nothing_is_kept_of_an_answer_that_may_differ(place: Place) -> None:
    reads = Reads(modules=(str(place.model),))
    spoilt = Journal()
    spoilt.note(reads, Machine(environment=os.environ).state(reads))
    spoilt.spoil()
    for written in (Journal(), spoilt):
        KeptReports(place.store, ("estimate", "other")).keep(REPORT, written, files_state([]))
    assert place.find(("estimate", "other")) is None


def test_a_journal_gets_what_is_noted_while_it_is_open() -> None:
    journal.note(Reads(), "before")
    with journal.open_journal() as outer:
        journal.note(Reads(), "one")
        with journal.open_journal() as inner:
            journal.spoil()
    journal.note(Reads(), "after")
    assert list(outer.reads) == ["one"]
    assert outer.is_whole
    assert not inner.is_whole


def test_the_cache_can_be_off(place: Place, tmp_path: Path) -> None:
    place.patch.setenv("VRAM_PLANNER_CACHE", str(tmp_path / "cache"))
    place.patch.delenv("VRAM_PLANNER_NO_CACHE", raising=False)
    assert kept_reports(WORDS) is not None
    place.patch.setenv("VRAM_PLANNER_CACHE_SIZE", "0")
    assert kept_reports(WORDS) is None
    place.patch.setenv("VRAM_PLANNER_CACHE_SIZE", "no size")
    assert kept_reports(WORDS) is None
    place.patch.delenv("VRAM_PLANNER_CACHE_SIZE")
    place.patch.setenv("VRAM_PLANNER_NO_CACHE", "1")
    assert kept_reports(WORDS) is None
