"""`--plot FILE`: a wrong file is refused before the work, a right one is drawn after the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.estimate import Estimate
from planner.results.plots import canvas

pytest.importorskip("matplotlib")


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(root, list(words))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["estimate", "curve", "compare", "inspect"])
@pytest.mark.parametrize(
    ("name", "said"),
    [("memory.gif", "one of .svg, .png, .pdf"), ("none/memory.svg", "create it first")],
)
def test_a_wrong_file_is_refused_before_the_work(
    command: str, name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, command, lambda *_, **__: pytest.fail("it was run"))
    code, text, error = run(command, "net.py", "--plot", str(tmp_path / name))
    assert (code, text) == (2, "")
    assert said in " ".join(error.split())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_matplotlib_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "curve", lambda *_, **__: pytest.fail("it was run"))
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    code, text, error = run("curve", "net.py", "--plot", str(tmp_path / "curve.svg"))
    assert (code, text) == (1, "")
    assert "pip install 'vram-planner[plot]'" in error


def test_the_picture_comes_with_the_report(
    curve: Curve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "curve", lambda *_, **__: curve)
    code, with_plot, _ = run("curve", "net.py", "--plot", str(tmp_path / "curve.svg"))
    assert (code, with_plot) == run("curve", "net.py")[:2]
    assert "recommended" in (tmp_path / "curve.svg").read_text()


def test_estimate_records_for_a_picture_and_for_the_whole_report(
    estimate: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

    def stand_in(target: str, **options: Any) -> Estimate:
        given.append(options["keep_allocations"])
        return estimate

    monkeypatch.setattr(planner, "estimate", stand_in)
    code, text, said = run("estimate", "net.py", "--plot", str(tmp_path / "memory.svg"))
    assert "nothing to plot for a100" in said  # it has no parts of its peak
    assert (code, "peak reserved" in text) == (2, True)
    run("estimate", "net.py", "--verbose")
    run("estimate", "net.py")
    assert given == [True, True, False]
    assert list(tmp_path.iterdir()) == []


def test_show_draws_a_saved_result(comparison: CardComparison, tmp_path: Path) -> None:
    comparison.save(tmp_path / "kept.planner")
    code, _, _ = run("show", str(tmp_path / "kept.planner"), "--plot", str(tmp_path / "a.pdf"))
    assert code == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
