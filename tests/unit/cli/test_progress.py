"""Progress: in place on a terminal, a line per stage elsewhere, never on stdout."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from planner.cli.progress import _Lines, shown_progress

_TEXTS = ["importing torch and the model"] + [
    f"{card}: {text}"
    for text in ("batch 8", *(f"searching the largest batch: trying {n}" for n in (9, 10, 11)))
    for card in ("a100", "t4")
]


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_each_stage_of_each_card_once(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(quiet=False) as show:
        for text in _TEXTS:
            show(text)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "importing torch and the model",
        "a100: batch 8",
        "t4: batch 8",
        "a100: searching the largest batch",
        "t4: searching the largest batch",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with shown_progress(quiet=True) as show:
        show("a100: batch 8")
    assert stderr.getvalue() == ""
    assert capsys.readouterr().out == ""


def test_a_terminal_shows_all_cards_in_place_and_is_left_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    with shown_progress(quiet=False) as show:
        for text in _TEXTS:
            show(text)
    shown = stderr.getvalue()
    assert "a100: searching the largest batch: trying 11" in shown
    assert "t4: searching the largest batch: trying 11" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is hidden"
    erased = shown[shown.rindex("trying 11") :].count("\x1b[2K")
    assert erased >= 2, "two lines are left on the terminal"
    assert capsys.readouterr().out == ""


def test_what_is_found_stays_on_the_line_of_its_card_and_seconds_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = iter((100.0, 107.2, 112.4, 113.0))
    monkeypatch.setattr("planner.cli.progress.time.monotonic", lambda: next(passed))
    lines = _Lines()
    assert str(lines.__rich__()) == "7 s  starting"
    for text in (
        "importing torch and the model",
        "a100: batch 8",
        "t4: batch 8",
        "a100: peak 1.68 GiB of 79.1 GiB, fits; now searching the largest batch",
        "a100: searching the largest batch: trying 900",
        "t4: peak 20.0 GiB of 14.6 GiB, does not fit; now searching the largest batch",
    ):
        lines.show(text)
    assert str(lines.__rich__()).splitlines() == [
        "12 s  a100: peak 1.68 GiB of 79.1 GiB, fits; trying 900",
        "      t4: peak 20.0 GiB of 14.6 GiB, does not fit; searching the largest batch",
    ]
    lines.show("a100: largest batch 965; now finishing its figures")
    assert str(lines.__rich__()).splitlines()[0] == (
        "13 s  a100: peak 1.68 GiB of 79.1 GiB, fits, largest batch 965; finishing its figures"
    )


def test_many_threads_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(quiet=False) as show:
        threads = [
            threading.Thread(target=lambda n=n: [show(f"card{n}: stage {m}") for m in range(20)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == sorted(f"card{n}: stage {m}" for n in range(8) for m in range(20))


def test_a_log_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    with shown_progress(quiet=False) as show:
        show("a100: batch 8")
