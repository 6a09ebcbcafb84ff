"""The documentation says what is: commands parse, names exist, examples run, links work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from inspect import Parameter, signature
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

import planner
from planner.cli.exit_codes import ExitCode
from planner.cli.root import root
from planner.config.options import EstimateOptions
from planner.config.parse import NAMES, step_config
from planner.errors import PlannerError, UsageError
from planner.memory.peak import ROUNDING
from planner.render.terminal.estimate import render
from planner.results.estimate import Estimate
from planner.wire.trace import Phase, TensorCategory

ROOT = Path(__file__).parents[2]
FILES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FILES += sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
README = DOCUMENTS["README.md"]
CONTRIBUTING = DOCUMENTS["CONTRIBUTING.md"]
REPORT = DOCUMENTS["docs/reference/report.md"]
OPTIONS = DOCUMENTS["docs/reference/options.md"]
JSON = DOCUMENTS["docs/reference/json.md"]
EXIT_CODES = DOCUMENTS["docs/reference/exit-codes.md"]
VERIFY = DOCUMENTS["docs/guides/verify.md"]
WHICH_CARD = DOCUMENTS["docs/guides/which-card.md"]
OWN_MODEL = DOCUMENTS["docs/guides/own-model.md"]
IN_PYTHON = DOCUMENTS["docs/guides/notebook.md"]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def shell_commands(text: str) -> list[list[str]]:
    return [
        shlex.split(part)
        for block in blocks(text, "bash")
        for line in block.splitlines()
        for part in line.split(" && ")
    ]


def planner_commands() -> list[list[str]]:
    return [
        words[1:] for text in DOCUMENTS.values() for words in shell_commands(text)
        if words[0] == "planner"
    ]  # fmt: skip


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


def options_of(command: click.Command) -> set[str]:
    return {
        name for option in command.params if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }  # fmt: skip


def section(page: str, title: str) -> str:
    (found,) = re.findall(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL
    )
    return str(found)


def test_readme_opens_with_the_two_commands_of_a_fresh_machine() -> None:
    assert [block.strip() for block in blocks(README, "bash")[:2]] == [
        "pip install -e . && planner estimate models/resnet50.py --gpu a100",
        "pip install -e '.[test]' && pytest -n auto --dist loadfile",
    ]


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_ci_does_what_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = [line.removeprefix("step ") for line in script.splitlines() if line.startswith("step ")]
    promised = [
        part for block in blocks(README, "bash")[:2] for part in block.strip().split(" && ")
    ]
    assert [step for step in steps if step in promised] == promised
    checks = ("ruff check .", "ruff format --check .", "mypy --strict planner")
    for check in (*checks, "pip install -e '.[docs]'"):
        assert check in steps
    assert any(step.startswith("clang-format --dry-run --Werror") for step in steps)
    assert any(step.startswith("mkdocs build --strict") for step in steps)
    assert "set -euo pipefail" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("words", planner_commands(), ids=" ".join)
def test_commands_are_understood(words: list[str]) -> None:
    if words[0] not in (
        "estimate",
        "inspect",
        "verify",
        "curve",
        "compare",
    ):  # what runs a model is only parsed
        result = CliRunner().invoke(root, words)
        assert result.exit_code == 0, result.stderr
        return
    context = dict(commands(root))[words[0]].make_context(words[0], words[1:])
    given = {name: value for name, value in context.params.items() if name in NAMES}
    if given.get("batch_size") is None:  # compare: each card has its own
        given.pop("batch_size", None)
    alloc_conf = given.get("alloc_conf") or ()
    first = alloc_conf if isinstance(alloc_conf, str) else next(iter(alloc_conf), None)
    step_config({**given, "alloc_conf": first})
    file = context.params["target"].partition(":")[0]
    assert not file.startswith("models/") or (ROOT / file).is_file()


def test_every_option_named_exists() -> None:
    known = {
        "--refresh-golden",
        "--dist",
        "--check",
        "--strict",
        "--sample",
        "--seed",
        "--known",
        "--shipped",
        "--fit",
    }
    for _, command in commands(root):
        known |= options_of(command)
    for name, text in DOCUMENTS.items():
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= known, name


def test_every_option_of_estimate_has_a_row() -> None:
    rows = [line for line in OPTIONS.splitlines() if line.startswith("| `-")]
    named = {name for row in rows for name in re.findall(r"`(--?[a-z-]+)", row.split(" | ")[0])}
    command = dict(commands(root))["estimate"]
    assert named == options_of(command) - {"-h", "--help"}


def test_every_option_of_verify_has_a_row_here_or_there() -> None:
    here = set(re.findall(r"^\| `(--[a-z-]+)", VERIFY, re.M))
    there = set(re.findall(r"`(--?[a-z-]+)", OPTIONS))
    assert options_of(dict(commands(root))["verify"]) - {"-h", "--help"} <= here | there


@pytest.mark.parametrize("name", ["curve", "compare"])
def test_every_option_of_curve_and_compare_has_a_row_here_or_there(name: str) -> None:
    rows = re.findall(r"^\| (`--.*?) \| ", WHICH_CARD, re.M)
    here = set(re.findall(r"`(--[a-z-]+)", "".join(rows)))
    there = set(re.findall(r"`(--?[a-z-]+)", OPTIONS))
    assert options_of(dict(commands(root))[name]) - {"-h", "--help"} <= here | there


def test_choices_in_the_rows_are_those_of_the_command() -> None:
    command = dict(commands(root))["estimate"]
    for option in command.params:
        if isinstance(option.type, click.Choice):
            choices = "\\|".join(str(choice) for choice in option.type.choices)
            assert f"| `{option.opts[0]} {choices}` |" in OPTIONS


def test_defaults_in_the_rows_are_those_of_the_command() -> None:
    command = dict(commands(root))["estimate"]
    for option in command.params:
        if option.name in ("batch_size", "accumulate", "steps"):
            (row,) = re.findall(rf"^\| `{option.opts[0]} N` \|(.*)\|$", OPTIONS, re.MULTILINE)
            assert f"({option.default})" in row


def test_exit_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \| (.*) \|$", EXIT_CODES, re.MULTILINE)
    documented = {int(code) for codes, _ in rows for code in codes.split(",")}
    assert documented == {int(code) for code in ExitCode}
    assert {PlannerError.exit_code, UsageError.exit_code} <= documented
    known = dict(commands(root))
    help_text = known["estimate"].epilog or ""
    assert "\n  4  " in (known["verify"].epilog or "")
    for codes, meaning in rows:
        if codes in ("0", "1", "2", "3"):
            assert f"\n  {codes}  {meaning}\n" in help_text


def test_json_keys_are_those_of_the_document(estimate: Estimate) -> None:
    document = estimate.to_dict()
    text = section(JSON, "planner estimate")
    first, second = text.partition("| key of a card |")[::2]
    in_rows = [
        set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE))))
        for part in (first, second)
    ]
    assert in_rows == [set(document), set(document["gpus"][0])]
    card = document["gpus"][0]
    for key in ("time", "host", "cost"):
        (row,) = re.findall(rf"^\| `{key}` \| (.*) \|$", second, re.MULTILINE)
        inner = [*card[key].get("gains", ()), card[key].get("epoch") or {}]
        own = {*card[key], *(name for part in inner for name in part)}
        assert set(re.findall(r"`(\w+)`", row)) == own
    for key in ("versions", "config", "counts"):
        (row,) = re.findall(rf"^\| `{key}` \| (.*) \|$", first, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == set(document[key])


def test_every_public_name_is_mentioned() -> None:
    for name in planner.__all__:
        assert f"planner.{name}" in IN_PYTHON


def test_every_public_name_has_a_place_in_the_python_reference() -> None:
    directives = re.findall(r"^::: ([\w.]+)$", DOCUMENTS["docs/reference/python.md"], re.MULTILINE)
    for name in set(planner.__all__) - {"__version__"}:
        public = getattr(planner, name)
        full_name = f"{public.__module__}.{public.__qualname__}"
        assert {full_name, public.__module__} & {*directives}, name


def test_every_option_of_the_library_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", IN_PYTHON))
    own = {
        name
        for name, parameter in signature(planner.estimate).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    functions = {"build_batch", "training_step", "build_optimizer", "inference_step"}
    assert {*own, *EstimateOptions.__annotations__} - functions - {"gpu"} <= named


def test_the_report_shown_has_the_rows_of_a_report(estimate: Estimate) -> None:
    console = Console(width=100, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(render(estimate))

    def labels(text: str) -> list[str]:
        return re.findall(r"^([a-z]+(?: [a-z]+)?)  +\S", text, re.MULTILINE)

    (shown,) = blocks(README, "text")
    asked_for = {
        "attention", "cores needed", "workers", "host memory", "shared memory",
        "epoch", "epoch energy", "epoch cost",
    }  # fmt: skip
    assert labels(shown) == [row for row in labels(captured.get()) if row not in asked_for]
    rows = re.findall(r"^\| ([a-z, ]+) \| ", REPORT, re.MULTILINE)
    explained = {name for row in rows for name in row.split(", ")}
    rare = {"longest sequence", *asked_for}
    assert {*labels(shown), *rare} - {"card"} == explained - {"row", "peak is in"}
    assert "\npeak is in" in shown
    named = set(re.findall(r"^- ([a-z]+(?: [a-z]+)?)  +\S", shown, re.MULTILINE))
    of_the_peak = {*(category.value for category in TensorCategory), ROUNDING}
    assert named <= of_the_peak | {phase.value for phase in Phase}
    assert "saved activation" in named


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)]+)\)", DOCUMENTS[name]):
        file = target.partition("#")[0]
        assert target.startswith("https://") or not file or (folder / file).exists(), target


def test_the_navigation_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w/.-]+\.md)$", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    pages = {path.removeprefix("docs/") for path in DOCUMENTS if path.startswith("docs/")}
    outside = set(listed) - pages
    assert pages <= set(listed)
    assert outside == {"CHANGELOG.md", "CONTRIBUTING.md", "hardware_db/SCHEMA.md"}
    assert all((ROOT / path).is_file() for path in outside)


def test_a_part_taken_from_another_file_is_there() -> None:
    for text in DOCUMENTS.values():
        for file, name in re.findall(r'--8<-- "([^":]+):(\w+)"', text):
            source = (ROOT / file).read_text(encoding="utf-8")
            assert f"--8<-- [start:{name}]" in source
            assert f"--8<-- [end:{name}]" in source


def test_the_map_names_every_module() -> None:
    table = re.findall(r"^\| \d+ \| (.*?) \|", CONTRIBUTING, re.MULTILINE)
    named = {path.rstrip("/") for cell in table for path in re.findall(r"`([\w./]+)`", cell)}
    package = ROOT / "planner"
    present = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    present |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert named == present


@pytest.mark.slow
def test_the_example_of_a_model_file_runs(tmp_path: Path) -> None:
    (source,) = [block for block in blocks(OWN_MODEL, "python") if "def build_model" in block]
    (words,) = [words for words in planner_commands() if "my_model.py" in words]
    (tmp_path / "my_model.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "planner", *words, "--no-max-batch", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    parameters = 3 * 128 * 9 + 128 + 128 * 10 + 10
    assert f"{parameters / 1000:.1f} k parameters, training with batch 512" in done.stdout
    assert "optimizer SGD" in done.stdout


@pytest.mark.slow
def test_the_examples_in_python_run() -> None:
    examples = [block for block in blocks(IN_PYTHON, "python") if "planner.estimate(" in block]
    assert len(examples) == 2
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
