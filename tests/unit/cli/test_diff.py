"""`planner diff`: two files, two sets of options; what cannot be compared is said."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner.cli.root import root
from planner.questions import diff as question
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.units import MIB
from tests.unit.budget_records import VERSIONS, block, card, estimate_of

BEFORE = estimate_of(card(block(1024, "a", "/x/net.py:3"), block(2, "b", "/x/net.py:4")))
AFTER = replace(
    estimate_of(
        card(block(1280, "a", "/x/net.py:3"), block(1, "b", "/x/net.py:4"), largest=32),
        target="net.py:other",
        accumulate=2,
    ),
    versions=replace(VERSIONS, torch="2.15.0"),
    warnings=("doubtful",),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "net.py").write_text("import torch\n\ndef build_model(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["diff", "-q", *words])


def saved(name: str, found: Estimate) -> str:
    found.save(name)
    return name


def test_two_saved_files(folder: Path) -> None:
    result = run(saved("a.planner", BEFORE), saved("b.planner", AFTER))
    assert result.exit_code == 0, result.output
    for said in (
        "t4: peak +255 MiB (12 %), 2.00 GiB -> 2.25 GiB",
        "- before: a.planner, net.py\n",
        "- after: b.planner, net.py:other\n",
        "- accumulate: 1 -> 2",
        "- torch: 2.14.1+cu130 -> 2.15.0",
        "- largest batch: 64 -> 32 (-50 %)",
        "- module a: +256 MiB (1.00 GiB -> 1.25 GiB)",
        "- module b: -1.00 MiB (2.00 MiB -> 1.00 MiB)",
        "- source line net.py:3: +256 MiB",
        "- b.planner: doubtful",
    ):
        assert said in result.stdout
    assert "/x/" not in result.stdout


def test_the_document_has_all_changes(folder: Path) -> None:
    result = run(saved("a.planner", BEFORE), saved("b.planner", AFTER), "--json")
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert document["before"] == {"from": "a.planner", "target": "net.py"}
    (on_card,) = document["cards"]
    assert on_card["grown_bytes"] == 255 * MIB
    parts = {(one["part"], one["name"]): one["grown_bytes"] for one in on_card["changed_parts"]}
    assert parts["module", "a"] == 256 * MIB
    assert parts["operator", "aten::linear"] == 255 * MIB


def test_equal_results_differ_in_nothing(folder: Path) -> None:
    result = run(saved("a.planner", BEFORE), saved("b.planner", BEFORE))
    assert "t4: peak unchanged, 2.00 GiB" in result.stdout
    assert "- nothing differs" in result.stdout


def test_a_document_has_no_lines_and_the_report_says_so(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(BEFORE.to_dict()))
    result = run("a.json", saved("b.planner", AFTER))
    assert result.exit_code == 0, result.output
    assert "module a: +256 MiB" in result.stdout
    assert "operator" not in result.stdout.partition("not compared")[0]
    assert "operators and lines of the code are not compared" in result.stdout


def test_cards_of_one_side_alone_are_named(folder: Path) -> None:
    many = replace(BEFORE, gpus=(card(block(1), gpu="l4"), BEFORE.gpus[0]))
    others = replace(BEFORE, gpus=(BEFORE.gpus[0], card(block(1), gpu="a100")))
    result = run(saved("a.planner", many), saved("b.planner", others))
    assert "in one of the two alone\n- l4\n- a100\n" in result.stdout
    one = replace(BEFORE, gpus=(card(block(1024), gpu="l4"),))
    result = run(saved("c.planner", BEFORE), saved("d.planner", one))
    assert result.stdout.startswith("t4, l4: peak -2.00 MiB (0.1 %), 2.00 GiB -> 2.00 GiB\n")


class Fake:
    """Stands for estimate()."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, target: str, *, on_progress: Any, **options: Any) -> Estimate:
        self.calls.append((target, options))
        return BEFORE if options["batch_size"] == 8 else AFTER


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    function = Fake()
    monkeypatch.setattr(question, "estimate", function)
    return function


def test_two_sets_of_options(fake: Fake) -> None:
    result = run("net.py", "--gpu", "t4", "--a", "--batch 8", "--b", "--batch 16 --optimizer sgd")
    assert result.exit_code == 0, result.output
    assert [(target, one["batch_size"], one.get("optimizer")) for target, one in fake.calls] == [
        ("net.py", 8, None), ("net.py", 16, "sgd"),
    ]  # fmt: skip
    assert all(list(one["gpu"]) == ["t4"] for _, one in fake.calls)
    assert "- before: --batch 8, net.py\n" in result.stdout
    assert "- after: --batch 16 --optimizer sgd, net.py:other\n" in result.stdout
    assert run("net.py", "--gpu", "t4", "--b", "--batch 16").exit_code == 0  # one side has more
    assert [one["batch_size"] for _, one in fake.calls[2:]] == [8, 16]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.planner"], "name two files of --save or --json"),
        (["a.planner", "b.planner", "c.planner"], "name two files"),
        (["net.py", "--gpu", "t4"], "say --rev REV, or --a and --b"),
        (["net.py", "--rev", "main", "--a", "--batch 8"], "say either --rev or --a and --b"),
        (["net.py", "--rev", "a", "--rev", "b", "--rev", "c"], "at most twice"),
        (["net.py", "--gpu", "t4", "--b", "--batchs 8"], "No such option"),
        (["net.py", "--gpu", "t4", "--b", "--batch '8"], "cannot be split into options"),
        (["net.py", "--gpu", "t4", "--b", "--json"], "--json and --save are of planner diff"),
        (["net.py", "--gpu", "t4", "--rev", "none"], "--rev: "),
    ],
)
def test_what_cannot_be_compared_is_said(fake: Fake, words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout, fake.calls) == (2, "", []), result.output
    assert said in result.stderr


def test_files_that_are_no_estimates(folder: Path, inspection: Inspection) -> None:
    inspection.save("i.planner")
    result = run("i.planner", saved("b.planner", AFTER))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "i.planner is the result of another command" in result.stderr
    missing = run("none.planner", "b.planner")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "none.planner cannot be read" in missing.stderr


def test_names_of_a_model_cannot_steer_a_terminal(folder: Path) -> None:
    hostile = "\x1b[31m\u202emodule"
    after = estimate_of(card(block(2048, hostile, f"/x/{hostile}.py:3", hostile)), target=hostile)
    text = run(saved("a.planner", BEFORE), saved("b.planner", after)).stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"module \x1b[31m\u202emodule: +2.00 GiB" in text
    assert r"- after: b.planner, \x1b[31m\u202emodule" in text


def git(folder: Path, *words: str) -> None:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def repository(folder: Path) -> Path:
    """A repository in a subfolder: one commit of net.py, and a line more in the working tree."""
    inner = folder / "project"
    inner.mkdir()
    (inner / "net.py").write_text("x = 1\ndef build_model(): ...\n")
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"]):
        git(inner, *words)
    (inner / "net.py").write_text("# more\nx = 1\ndef build_model(): ...\n")
    return inner


class Revisions:
    """Stands for estimate(): reads the target's file, and has blocks of its last line."""

    def __init__(self, source: str | None = None) -> None:
        self.source, self.texts = source, []

    def __call__(self, target: str, *, on_progress: Any, **options: Any) -> Estimate:
        file = Path(target.partition(":")[0]).absolute()
        self.texts.append(file.read_text())
        line = f"{file}:{len(self.texts[-1].splitlines())}"
        return estimate_of(card(block(1024, "a", self.source or line)), target=target)


@pytest.mark.parametrize("target", ["project/net.py", "project/net.py:build_model"])
@pytest.mark.parametrize("form", ["outside", "inside", "absolute"])
def test_a_revision_is_that_of_the_file_wherever_one_stands(
    repository: Path, monkeypatch: pytest.MonkeyPatch, target: str, form: str
) -> None:
    fake = Revisions()
    monkeypatch.setattr(question, "estimate", fake)
    if form == "inside":
        monkeypatch.chdir(repository)
        target = target.removeprefix("project/")
    elif form == "absolute":
        target = f"{repository.parent}/{target}"
    result = run(target, "--gpu", "t4", "--rev", "main")
    assert result.exit_code == 0, result.output
    assert [len(text.splitlines()) for text in fake.texts] == [2, 3]
    assert "- nothing differs" in result.stdout  # the line moved, and is the same
    assert f", {target}\n- after: working tree, {target}\n" in result.stdout


def test_code_of_the_working_tree_in_a_revision_is_an_error(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "estimate", Revisions(f"{repository}/net.py:1"))
    result = run("project/net.py", "--gpu", "t4", "--rev", "main")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"its step ran {repository}/net.py of the working tree" in result.stderr


def test_a_file_that_the_revision_does_not_have(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Revisions()
    monkeypatch.setattr(question, "estimate", fake)
    (repository / "new.py").write_text("def build_model(): ...\n")
    result = run("project/new.py", "--gpu", "t4", "--rev", "main")
    assert (result.exit_code, result.stdout, fake.texts) == (2, "", [])
    assert "there is no file new.py in revision main" in result.stderr
