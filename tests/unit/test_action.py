"""The action of GitHub and the hook of pre-commit: valid, complete, and their commands run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import planner
from planner.cli.root import root

ROOT = Path(planner.__file__).parents[1]
TEXT = (ROOT / "action.yml").read_text(encoding="utf-8")
ACTION = yaml.safe_load(TEXT)
STEPS: dict[str, dict[str, Any]] = {step["name"]: step for step in ACTION["runs"]["steps"]}
GUIDE = (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")


def test_every_input_is_described_used_and_in_the_guide() -> None:
    used = set(re.findall(r"inputs\.([a-z-]+)", TEXT))
    assert used == set(ACTION["inputs"])
    for name, value in ACTION["inputs"].items():
        assert value["description"]
        assert "default" in value
        assert f"`{name}`" in GUIDE
    assert all(f"`{name}`" in GUIDE for name in ACTION["outputs"])


def test_steps_refer_to_steps_before_them() -> None:
    known: set[str] = set()
    for step in ACTION["runs"]["steps"]:
        assert set(re.findall(r"steps\.(\w+)\.", yaml.safe_dump(step))) <= known
        known |= {step["id"]} if "id" in step else set()
    assert "check" in known


def test_no_input_is_pasted_into_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert step.get("shell", "bash") == "bash"
        assert ("run" in step) == ("shell" in step)
        assert ("uses" in step) != ("run" in step)
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])


def test_the_cache_is_one_for_each_version_of_torch() -> None:
    key = STEPS["Keep the emulated device"]["with"]["key"]
    assert "steps.torch.outputs.version" in key
    assert STEPS["Keep the emulated device"]["with"]["path"] == "~/.cache/vram-planner"


def script(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script of a step as a runner does, with programs of the test first on the path."""
    own = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]],
        cwd=folder,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def program(folder: Path, name: str, text: str) -> None:
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)


CHECK = {
    "FILE": "planner.toml", "ONLY": "", "JOBS": "", "MARKDOWN": "b.md", "JUNIT": "b.xml",
    "SARIF": "b.sarif",
}  # fmt: skip


@pytest.mark.parametrize("code", [0, 3])
def test_the_step_runs_planner_and_passes_its_exit_code(tmp_path: Path, code: int) -> None:
    program(tmp_path, "planner", f'printf "%s\\n" "$@" > words; echo table > b.md; exit {code}')
    done = script("Check", tmp_path, **{**CHECK, "ONLY": "one $(touch no)\ntwo\n", "JOBS": "1"})
    assert done.returncode == code, done.stderr
    words = (tmp_path / "words").read_text().splitlines()
    assert words == [
        "check", "--markdown", "b.md", "--junit", "b.xml", "--sarif", "b.sarif",
        "--only", "one $(touch no)", "--only", "two", "--jobs", "1", "--", "planner.toml",
    ]  # fmt: skip
    assert not (tmp_path / "no").exists()
    command = root.get_command(click.Context(root), words[0])
    assert command is not None
    (tmp_path / "planner.toml").touch()
    context = command.make_context("check", words[1:])
    assert context.params["only"] == ("one $(touch no)", "two")
    assert (tmp_path / "summary").read_text() == "table\n"
    assert (tmp_path / "output").read_text() == f"exit-code={code}\n"


def test_an_old_table_is_not_shown_for_a_failure(tmp_path: Path) -> None:
    program(tmp_path, "planner", "exit 2")
    (tmp_path / "b.md").write_text("of another run")
    assert script("Check", tmp_path, **CHECK).returncode == 2
    assert not (tmp_path / "summary").exists()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"REQUIREMENTS": "", "PLANNER": ""}, ["-m", "pip", "install", "/the action"]),
        (
            {"REQUIREMENTS": "r.txt", "PLANNER": "vram-planner==1"},
            ["-m", "pip", "install", "-r", "r.txt", "vram-planner==1"],
        ),
        ({"REQUIREMENTS": "r.txt", "PLANNER": "none"}, ["-m", "pip", "install", "-r", "r.txt"]),
        ({"REQUIREMENTS": "", "PLANNER": "none"}, None),
    ],
)
def test_what_is_installed(
    tmp_path: Path, environment: dict[str, str], words: list[str] | None
) -> None:
    program(tmp_path, "python", 'printf "%s\\n" "$@" > words')
    done = script("Install", tmp_path, ACTION="/the action", **environment)
    assert done.returncode == 0, done.stderr
    found = tmp_path / "words"
    assert (found.read_text().splitlines() if found.exists() else None) == words


def test_versions_and_folders_come_from_python(tmp_path: Path) -> None:
    assert script("Read the version of torch", tmp_path).returncode == 0
    assert script("Find the folder of pip's cache", tmp_path).returncode == 0
    written = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert re.match(r"\d+\.\d+", written["version"])
    assert re.fullmatch(r"3\.\d+", written["python"])
    assert written["folder"].startswith("/")


def test_the_hook_is_by_hand_and_its_command_exists() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["stages"] == ["manual"]
    assert (hook["language"], hook["pass_filenames"]) == ("system", False)
    program_name, name, *words = shlex.split(hook["entry"])
    command = root.get_command(click.Context(root), name)
    assert program_name == "planner"
    assert command is not None
    assert command.make_context(name, words).params["quiet"] is True
    assert f"- id: {hook['id']}" in GUIDE
    assert f"--hook-stage manual {hook['id']}" in GUIDE
