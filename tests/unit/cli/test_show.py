"""`--save FILE` and `planner show FILE`: report and JSON again, of every kind of result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.results.result import Result
from planner.wire.trace import AllocationTrace


@pytest.fixture
def results(
    estimate: Estimate, curve: Curve, comparison: CardComparison, inspection: Inspection
) -> dict[str, Result]:
    return {
        "estimate": replace(estimate, allocations=(AllocationTrace(events=()), None)),
        "curve": curve,
        "compare": comparison,
        "inspect": inspection,
    }


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(root, list(words))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["estimate", "curve", "compare", "inspect"])
def test_what_is_saved_is_shown_again(
    command: str, results: dict[str, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def stand_in(target: str, **options: Any) -> Result:
        given.update(options)
        return results[command]

    monkeypatch.setattr(planner, command, stand_in)
    file = str(tmp_path / "kept.planner")
    _, report, _ = run(
        command, "net.py", "--save", file, *(["--gpu", "t4"] * (command != "compare"))
    )
    assert given.get("keep_allocations") is (True if command == "estimate" else None)
    assert planner.load(file) == results[command]
    assert run("show", file) == (0, report, "")
    code, text, _ = run("show", file, "--json")
    assert (code, json.loads(text)) == (0, results[command].to_dict())


def test_without_save_no_allocations_are_kept(
    estimate: Estimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def stand_in(target: str, **options: Any) -> Estimate:
        given.update(options)
        return estimate

    monkeypatch.setattr(planner, "estimate", stand_in)
    run("estimate", "net.py", "--gpu", "t4")
    assert given["keep_allocations"] is False


def test_a_file_of_json_is_shown(estimate: Estimate, tmp_path: Path) -> None:
    file = tmp_path / "ci.json"
    file.write_text(json.dumps(estimate.to_dict()))
    code, text, _ = run("show", str(file), "--json")
    assert (code, json.loads(text)) == (0, estimate.to_dict())
    code, text, _ = run("show", str(file))
    assert code == 0
    assert "peak reserved" in text


@pytest.mark.parametrize("command", ["estimate", "curve", "compare", "inspect", "verify"])
def test_a_place_that_cannot_be_is_refused_at_once(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, command, lambda *_, **__: pytest.fail("it was run"))
    code, text, said = run(command, "net.py", "--save", str(tmp_path / "none" / "a.planner"))
    assert (code, text) == (2, "")
    assert "--save" in said
    assert "create it first" in said


def test_what_is_no_result_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("\x1b[31mnotes")
    code, text, said = run("show", str(file))
    assert (code, text) == (1, "")
    assert "notes.txt cannot be read: it is neither JSON nor an archive of --save" in said
    assert run("show", str(tmp_path / "none"))[0] == 1


@pytest.mark.parametrize(("words", "code"), [(["--format", "k8s"], 3), (["--format", "table"], 0)])
def test_a_request_of_a_saved_result(
    words: list[str], code: int, estimate: Estimate, tmp_path: Path
) -> None:
    """The step does not fit on one of its two cards."""
    estimate.save(tmp_path / "kept.planner")
    found, text, _ = run("show", str(tmp_path / "kept.planner"), *words)
    assert found == code
    assert ("nvidia.com/gpu: 1" in text) is (code == 3)


def test_only_an_estimate_is_a_request(curve: Curve, tmp_path: Path) -> None:
    curve.save(tmp_path / "kept.planner")
    code, text, said = run("show", str(tmp_path / "kept.planner"), "--format", "sky")
    assert (code, text) == (2, "")
    assert "--format sky is for the result of `planner estimate` and `run`" in said
