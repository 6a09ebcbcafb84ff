"""Which reports of `planner estimate` are kept, and how one is shown again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from planner.cli import repeat
from planner.cli.estimate import estimate
from planner.cli.terminal import copied, print_text
from planner.process.kept import journal, reports
from planner.process.kept.reports import KeptReports
from planner.process.kept.store import Store
from planner.wire.reads import Reads


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store(folder=tmp_path / "answers")
    monkeypatch.setattr(repeat, "kept_reports", lambda words: KeptReports(kept, words))
    monkeypatch.setattr(reports, "PACKAGE", tmp_path / "planner")
    monkeypatch.setattr(repeat, "_looked_at", lambda: [str(tmp_path / "planner.toml")])
    monkeypatch.chdir(tmp_path)
    return kept


def made(monkeypatch: pytest.MonkeyPatch, *words: str, code: int | None = 0) -> list[str]:
    """Makes a report by these words, and returns them."""
    every = ["estimate", *words]
    monkeypatch.setattr(sys, "argv", ["planner", *every])
    context = estimate.make_context("estimate", list(words))
    with repeat.report_kept(context) as keeping:
        journal.note(Reads(), reports.Machine(environment={}).state(Reads()))
        print_text("it fits\n")
        keeping.code = code
    return every


def test_the_same_words_print_it_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = made(monkeypatch, "net.py", "--gpu", "t4,a100", "--batch", "8", code=3)
    capsys.readouterr()
    assert repeat.shown_again(words) == 3
    assert capsys.readouterr().out == "it fits\n"
    assert repeat.shown_again([*words, "--json"]) is None
    assert repeat.shown_again(["inspect", *words[1:]]) is None
    assert repeat.shown_again([]) is None


@pytest.mark.parametrize(
    "words",
    [
        ("net.py",),  # the cards of this machine
        ("net.py", "--gpu", "auto"),
        ("net.py", "--gpu", "t4", "--gpu", "auto"),
        ("net.py", "--gpu", "t4", "--host", "this"),
        ("net.py", "--gpu", "t4", "--prices", "sky"),
        ("net.py", "--gpu", "t4", "--measure-data"),
        ("net.py", "--gpu", "t4", "--hardware-db", "."),
        ("net.py", "--gpu", "t4", "--save", "found.json"),
        ("net.py", "--device", "cpu"),
        ("hf:openai-community/gpt2", "--gpu", "t4"),
        ("net.py", "--gpu", "t4", "--no-cache"),
    ],
    ids=" ".join,
)
def test_what_reads_more_is_made_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    assert repeat.shown_again(made(monkeypatch, *words)) is None


def test_a_failure_is_made_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repeat.shown_again(made(monkeypatch, "net.py", "--gpu", "t4", code=None)) is None


def test_a_file_that_appears_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["estimate", "net.py", "--gpu", "t4"]
    monkeypatch.setattr(sys, "argv", ["planner", *words])
    with repeat.report_kept(estimate.make_context("estimate", words[1:])) as keeping:
        journal.note(Reads(), reports.Machine(environment={}).state(Reads()))
        keeping.code = 0
        (tmp_path / "planner.toml").write_text("")
    assert repeat.shown_again(words) is None


def test_copies_end_with_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    with copied() as texts:
        print_text("one\n")
    print_text("two\n")
    assert texts == ["one\n"]
    assert capsys.readouterr().out == "one\ntwo\n"
