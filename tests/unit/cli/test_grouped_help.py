"""The help of commands with many options: groups, examples, defaults."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from planner.cli.grouped_help import _REST, GroupedCommand, grouped_options
from planner.cli.root import root

ROOT = Path(__file__).parents[3]
NAMES = ("estimate", "curve", "compare", "verify", "inspect")


def grouped(name: str) -> GroupedCommand:
    command = root.get_command(click.Context(root), name)
    assert isinstance(command, GroupedCommand)
    return command


def help_of(name: str, width: int) -> str:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(root, [name, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_in_a_group(name: str) -> None:
    command = grouped(name)
    found = grouped_options(command, click.Context(command))
    assert _REST not in found, "add it to _GROUPS in planner/cli/grouped_help.py"
    options = [option for option in command.params if isinstance(option, click.Option)]
    names = [option.opts[-1] for group in found.values() for option in group]
    assert sorted(names) == sorted([*(option.opts[-1] for option in options), "--help"])
    text = help_of(name, 80)
    at = [text.index(f"\n{heading}:\n") for heading in found]
    assert at == sorted(at)


def test_an_option_of_no_group_is_still_in_the_help() -> None:
    command = GroupedCommand(
        "own", params=[click.Option(["--own"], help="Mine.")], examples=("planner own",)
    )
    text = command.get_help(click.Context(command))
    assert "More:\n  --own" in text
    assert "  Examples:\n    planner own" in text


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_an_example_and_a_default(name: str) -> None:
    for option in grouped(name).params:
        if not isinstance(option, click.Option) or option.is_flag:
            continue
        names = f"{option.opts[-1]}: {option.help}"
        is_choice = isinstance(option.type, click.Choice)
        assert is_choice or any(word in names for word in (" like ", ": imagenet-jpeg")), names
        assert option.show_default or option.required or "Without it" in names, names


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_commands_that_parse(name: str) -> None:
    command = grouped(name)
    text = help_of(name, 80)
    assert 2 <= len(command.examples) <= 3
    for example in command.examples:
        assert f"\n    {example}\n" in text
        assert len(f"    {example}") <= 80
        planner, word, *words = shlex.split(example)
        assert (planner, word) == ("planner", name)
        target = command.make_context(name, words).params["target"]
        assert not target.startswith("models/") or (ROOT / target).is_file()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_options_is_too_wide(name: str, width: int) -> None:
    options = help_of(name, width).partition("\n  Examples:")[0].splitlines()
    assert max(map(len, options)) <= width
