"""`planner run`: what cannot be run is refused at once, with the banner around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.root import root
from planner.cli.run import _BANNER


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "say which command trains"),
        (["run", "--", "nothing-here"], "there is no command 'nothing-here'"),
        (["run", "--steps", "0", "--", "true"], "--steps"),
        (["run", "--gpu", "a10000", "--", "true"], "a10000"),
        (["run", "--gpu", "all", "--", "true"], "a script is run for each card"),
        (["run", "--batch-arg", "--bs", "--", "true", "--lr", "1"], "is not in the command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_has_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(root, words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_the_banner_is_first_and_before_the_error() -> None:
    lines = CliRunner().invoke(root, ["run", "--", "nothing-here"]).stderr.splitlines()
    assert lines[0] == lines[1] == f"[{_BANNER}]"
    assert "emulated" in lines[0]
    assert lines[2].startswith("error: ")


def test_without_a_command_there_is_no_banner() -> None:
    lines = CliRunner().invoke(root, ["run"]).stderr.splitlines()
    assert lines[0].startswith("error: say which command trains")


def test_options_of_the_script_are_not_planners() -> None:
    result = CliRunner().invoke(root, ["run", "nothing-here", "--gpu", "x", "--lr", "1"])
    assert "there is no command 'nothing-here'" in result.stderr


def test_a_folder_that_is_not_there_is_no_place_to_write(tmp_path: Path) -> None:
    words = ["run", "--allow-writes", str(tmp_path / "none"), "--", "true"]
    result = CliRunner().invoke(root, words)
    assert result.exit_code == 2
    assert "which is no folder" in result.stderr
