"""The root command: late imports, help, version, what happens when nobody reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import planner
from planner.cli.near_commands import _MEANT
from planner.cli.root import _COMMANDS, _MODULES, _TO_BEGIN, root

ROOT = Path(__file__).parents[3]


def test_help_says_of_each_command_what_the_command_says_of_itself() -> None:
    context = click.Context(root)
    for group in _COMMANDS.values():
        for name, (_, text) in group.items():
            found = root.get_command(context, name)
            assert found is not None
            assert found.name == name
            assert (found.help or "").partition("\n\n")[0].replace("\n", " ") == text


@pytest.mark.parametrize("words", [["-h"], ["--help"], []], ids=str)
def test_help_has_commands_in_groups_and_each_on_one_line(words: list[str]) -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(root, words)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for heading, group in _COMMANDS.items():
        start = lines.index(f"{heading}:") + 1
        rows = [tuple(line.split(None, 1)) for line in lines[start : start + len(group)]]
        assert rows == [(name, text) for name, (_, text) in group.items()]


def test_examples_of_the_first_help_can_be_run() -> None:
    text = CliRunner().invoke(root, []).stdout
    for example in _TO_BEGIN:
        assert f"\n  {example}\n" in text
        _, name, *words = example.split()
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert (ROOT / command.make_context(name, words).params["target"]).is_file()


@pytest.mark.parametrize("words", [["gpus"], ["gpus", "--json"]])
def test_a_stdout_without_room_is_named(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "planner", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    says = "error: stdout could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, says)


def test_version() -> None:
    result = CliRunner().invoke(root, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"planner {planner.__version__}\n")


def test_unknown_command() -> None:
    result = CliRunner().invoke(root, ["estimat"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: No such command 'estimat'")


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["max-batch", "x.py", "--gpu", "t4"], "planner estimate x.py --gpu t4?"),
        (["fit", "x.py"], "planner estimate x.py?"),
        (["check", "x.py"], "planner estimate x.py"),
        (["budget"], "planner check?"),
        (["estimat", "x.py"], "planner estimate x.py?"),
        (["Estimate", "x.py"], "planner estimate x.py?"),
        (["plot", "x.py"], "planner curve x.py?"),
        (["matrix", "x.py"], "planner sweep x.py?"),
        (["flops", "x.py"], "planner inspect x.py?"),
        (["rank", "x.py"], "planner compare x.py?"),
        (["benchmark", "x.py"], "planner verify x.py?"),
        (["gpu"], "planner gpus?"),
        (["version"], "planner --version?"),
        (["help"], "planner --help?"),
        (["models/x.py", "--gpu", "rtx 4090"], "planner estimate models/x.py --gpu 'rtx 4090'"),
        (["x.py"], "planner estimate x.py"),
        (["pkg.nets:net"], "planner estimate pkg.nets:net"),
        (["--gpu", "t4", "x.py"], "planner estimate x.py --gpu t4"),
        (["--gpu", "t4"], "planner estimate TARGET --gpu t4"),
        (["resnet50"], "planner estimate resnet50"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_command_is_answered_with_what_to_type(words: list[str], typed: str) -> None:
    result = CliRunner().invoke(root, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert typed in result.stderr
    assert result.stderr.count("error: ") == 1


def test_a_slip_in_an_option_of_planner_itself_stays_one() -> None:
    result = CliRunner().invoke(root, ["--versoin"])
    assert result.exit_code == 2
    assert "--version" in result.stderr
    assert "behind the command" not in result.stderr


def test_every_command_that_is_meant_exists() -> None:
    assert {command for command, _ in _MEANT.values()} <= set(_MODULES)
    assert not set(_MEANT) & set(_MODULES)


def test_help_imports_no_command_and_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from planner.cli.root import root\n"
        "try:\n"
        "    root.main(['--help'], prog_name='planner')\n"
        "except SystemExit:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & {"torch", "rich", "yaml", "msgspec", "concurrent"}
    assert "planner.cli.gpus" not in done.stderr.split()


def test_module_is_the_command() -> None:
    command = [sys.executable, "-m", "planner", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"planner {planner.__version__}\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "planner", "gpus", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "planner", "gpus", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
