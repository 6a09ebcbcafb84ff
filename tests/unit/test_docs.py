"""The documentation says what is: commands parse, names exist, examples run, links work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from inspect import Parameter, isfunction, signature
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

import planner
from planner.cli.check_file import read_checks
from planner.cli.config_file import OWN_FILE, find_config, read_config
from planner.cli.exit_codes import ExitCode
from planner.cli.file_defaults import _REPLACES, file_defaults
from planner.cli.root import root
from planner.config.limits import LIMIT_WORDS
from planner.config.options import EstimateOptions
from planner.config.parse import NAMES, step_config
from planner.errors import PlannerError, UsageError
from planner.memory.card_words import DEFAULT_CARDS
from planner.render.terminal.estimate import render
from planner.results.estimate import Estimate
from tests.made_traces import MadeTrace

ROOT = Path(__file__).parents[2]
FILES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FILES += [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
README = DOCUMENTS["README.md"]
CONTRIBUTING = DOCUMENTS["CONTRIBUTING.md"]
REPORT = DOCUMENTS["docs/reference/report.md"]
OPTIONS = DOCUMENTS["docs/reference/options.md"]
JSON = DOCUMENTS["docs/reference/json.md"]
EXIT_CODES = DOCUMENTS["docs/reference/exit-codes.md"]
VERIFY = DOCUMENTS["docs/guides/verify.md"]
WHICH_CARD = DOCUMENTS["docs/guides/which-card.md"]
MAKE_IT_FIT = DOCUMENTS["docs/guides/make-it-fit.md"]
SEVERAL_GPUS = DOCUMENTS["docs/guides/several-gpus.md"]
CONFIG_FILE = DOCUMENTS["docs/reference/config-file.md"]
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
def test_commands_are_understood(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if words[0] == "run":  # as what runs a model: only parsed
        context = dict(commands(root))["run"].make_context("run", words[1:])
        assert context.params["command"]
        return
    if words[0] in ("check", "diff", "ui"):
        dict(commands(root))[words[0]].make_context(words[0], words[1:])
        return
    if words[0] == "sweep" and words[1] not in ("show", "export"):
        context = dict(commands(root))["sweep run"].make_context("sweep", words[1:])
        assert context.params["targets"]
        return
    if words[0] not in (
        "estimate",
        "inspect",
        "verify",
        "curve",
        "compare",
        "advise",
        "parallelize",
        "report",
    ):  # what runs a model is only parsed
        monkeypatch.chdir(tmp_path)  # some write a file
        message = (ROOT / "tests/unit/verification/messages/since-2-1.txt").read_bytes()
        (tmp_path / "train.log").write_bytes(message)
        trace = MadeTrace()
        trace.relu(0, 900, 10_000_000)
        (tmp_path / "trace.json.gz").write_bytes(trace.packed())
        result = CliRunner().invoke(root, words)
        assert result.exit_code == 0, result.stderr
        return
    context = dict(commands(root))[words[0]].make_context(words[0], words[1:])
    given = {name: value for name, value in context.params.items() if name in NAMES}
    if given.get("batch_size") is None:  # compare: each card has its own
        given.pop("batch_size", None)
    if given.get("mode") == "generate":  # a task of published models
        given["mode"] = "infer"
    alloc_conf = given.get("alloc_conf") or ()
    first = alloc_conf if isinstance(alloc_conf, str) else next(iter(alloc_conf), None)
    step_config({**given, "alloc_conf": first})
    file = context.params["target"].partition(":")[0]
    assert not file.startswith(("models/", "examples/")) or (ROOT / file).is_file()


def test_every_option_named_exists() -> None:
    known = {
        "--refresh-golden",
        "--dist",
        "--check",
        "--strict",
        "--source",
        "--sample",
        "--seed",
        "--known",
        "--shipped",
        "--fit",
        "--shapes",
        "--lr",  # of a script
        "--nnodes",  # of torchrun
        "--nproc-per-node",
        "--multi-gpu",  # of accelerate
        "--num-processes",
        "--mixed-precision",
        "--num",  # --num_gpus of deepspeed
        "--hook-stage",  # of pre-commit
        "--ctx-size",  # of llama-server
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


def test_every_option_of_advise_has_a_row_here_or_there() -> None:
    here = set(re.findall(r"`(--[a-z-]+)", MAKE_IT_FIT))
    there = set(re.findall(r"`(--?[a-z-]+)", OPTIONS))
    assert options_of(dict(commands(root))["advise"]) - {"-h", "--help"} <= here | there


def test_every_option_of_parallelize_has_a_row_here_or_there() -> None:
    here = set(re.findall(r"`(--[a-z-]+)", section(SEVERAL_GPUS, "Which strategy")))
    there = set(re.findall(r"`(--?[a-z-]+)", OPTIONS))
    assert options_of(dict(commands(root))["parallelize"]) - {"-h", "--help"} <= here | there


def test_every_option_of_serving_has_a_row_in_its_guide() -> None:
    page = section(DOCUMENTS["docs/guides/serving.md"], "Options")
    named = {*re.findall(r"`(--[a-z-]+)", page), "-h", "--help", "-v", "-q"}
    assert options_of(dict(commands(root))["serving"]) <= named


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


def test_the_cards_that_stand_in_are_those_of_the_code() -> None:
    (said,) = re.findall(r"on a machine without one (.*)\. The first", section(OPTIONS, "Cards"))
    assert tuple(re.findall(r"`([\w-]+)`", said)) == DEFAULT_CARDS


def test_the_file_of_a_project_is_as_shown(tmp_path: Path) -> None:
    (example,) = blocks(CONFIG_FILE, "toml")
    (tmp_path / OWN_FILE).write_text(example)
    found = find_config(tmp_path, tmp_path)
    assert found is not None
    command = dict(commands(root))["estimate"]
    defaults = file_defaults(found, command, (), tuple)
    assert set(defaults.texts) == set(found.defaults)


def test_the_checks_of_the_guide_are_understood(tmp_path: Path) -> None:
    (example,) = blocks(DOCUMENTS["docs/guides/ci.md"], "toml")
    (tmp_path / OWN_FILE).write_text(example)
    found = read_checks(read_config(tmp_path / OWN_FILE))
    assert [check.name for check in found] == ["resnet on a10g", "models/gpt2.py"]
    shown = set(re.findall(r"^\| `([a-z-]+) = ", DOCUMENTS["docs/guides/ci.md"], re.MULTILINE))
    assert shown == set(LIMIT_WORDS)
    used = {limit.kind.value for check in found for limit in check.limits.limits}
    assert used == set(LIMIT_WORDS)


def test_what_replaces_a_default_is_what_the_page_says() -> None:
    rows = re.findall(r"^\| (`--.*?) \| (.*) \|$", CONFIG_FILE, re.MULTILINE)
    shown = {
        key: set(re.findall(r"`([a-z-]+)`", replaced)) - {"estimate"} or {*keys} - {key}
        for given, replaced in rows
        if (keys := re.findall(r"`--([a-z-]+)", given))
        for key in keys
    }
    assert set(shown) == set(_REPLACES)
    for key, others in _REPLACES.items():
        assert set(others) - {"emulated"} <= shown[key], key


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


def test_the_page_of_the_json_is_made_of_its_types() -> None:
    made = subprocess.run(
        [sys.executable, "-c", "import json_page; print(json_page.page(), end='')"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "docs/hooks")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == JSON, "run python docs/hooks/json_page.py"


def test_every_function_and_its_result_is_in_the_guide() -> None:
    public = [getattr(planner, name) for name in planner.__all__]
    functions = [one for one in public if isfunction(one)]
    assert functions
    for function in functions:
        assert f"planner.{function.__name__}(" in IN_PYTHON
        returned = signature(function).return_annotation
        assert returned in ("int | None", "Path") or f"planner.{returned}" in IN_PYTHON


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
    def printed(*, verbose: bool) -> str:
        console = Console(width=100, no_color=True, force_terminal=False)
        with console.capture() as captured:
            console.print(render(estimate, verbose=verbose))
        return captured.get()

    def labels(text: str) -> list[str]:
        return re.findall(r"^([a-z]+(?: [a-z]+)?)  +\S", text, re.MULTILINE)

    (shown,) = blocks(README, "text")
    asked_for = {
        "cores needed", "workers", "host memory", "shared memory", "epoch", "epoch energy",
        "epoch cost",
    }  # fmt: skip
    short, whole = labels(printed(verbose=False)), labels(printed(verbose=True))
    assert labels(shown) == [row for row in short if row not in asked_for]
    assert re.match(r"a100: fits, [\d.]+ of [\d.]+ GiB; largest batch \d+; about ", shown)
    rows = re.findall(r"^\| ([a-z, ]+) \| (.*) \|$", REPORT, re.MULTILINE)
    explained = {
        name: meaning for names, meaning in rows for name in names.split(", ") if names != "row"
    }
    rare = {
        "longest sequence", "peak is in", "messages", "pipeline bubble", "full state saved",
        "full state loaded",
    }  # fmt: skip
    assert {*whole, *rare} - {"card"} == set(explained)
    marked = {name for name, meaning in explained.items() if meaning.startswith("*v* ")}
    assert marked == {*whole, "peak is in"} - set(short)


def test_the_list_of_examples_has_every_file_with_the_command_of_its_docstring() -> None:
    page, folder = DOCUMENTS["examples/README.md"], ROOT / "examples"
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"README.md"}
    assert set(re.findall(r"\]\(([^)/]+)\)", page)) == files
    listed = [" ".join(words) for words in shell_commands(page)]
    for name in files:
        if name.endswith(".py"):
            (command,) = re.findall(r"^planner .+$", (folder / name).read_text(), re.MULTILINE)
            assert command in listed


def test_the_notebook_was_run_and_shows_no_error() -> None:
    text = (ROOT / "examples" / "first_estimate.ipynb").read_text(encoding="utf-8")
    cells = [one for one in json.loads(text)["cells"] if one["cell_type"] == "code"]
    assert [one["execution_count"] for one in cells] == list(range(1, len(cells) + 1))
    kinds = [output["output_type"] for one in cells for output in one["outputs"]]
    assert set(kinds) == {"execute_result", "stream"}
    assert "planner" in text
    assert str(ROOT) not in text


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
    assert outside == {
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "hardware_db/SCHEMA.md",
        "models/catalog/SCHEMA.md",
    }
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
def test_the_examples_in_python_run(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")  # one example writes a file
    examples = [block for block in blocks(IN_PYTHON, "python") if "planner.estimate(" in block]
    assert len(examples) == 3
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_the_examples_of_communication_run(capsys: pytest.CaptureFixture[str]) -> None:
    examples = blocks(DOCUMENTS["docs/reference/communication.md"], "python")
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "communication.md", "exec"), {})
    assert "Algorithm" not in (printed := capsys.readouterr().out)
    assert "NCCL's model of ring" in printed
