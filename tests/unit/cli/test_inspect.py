"""`planner inspect`: options to call, result to stdout, error to message and exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.config.parse import step_config
from planner.config.step import Precision
from planner.errors import ModelError, PlannerError, TargetError, UnknownGpuError
from planner.estimation.request import model_request
from planner.questions.inspect import inspect
from planner.results.inspection import Inspection

pytestmark = pytest.mark.usefixtures("model_file")


class Fake:
    """Stands for planner.inspect: remembers the call, shows progress, returns or raises."""

    def __init__(self, result: Inspection | BaseException) -> None:
        self.result = result
        self.target: Any = None
        self.options: dict[str, Any] = {}

    def __call__(
        self, target: Any, *, on_progress: Callable[[str], None], **options: Any
    ) -> Inspection:
        self.target, self.options = target, options
        on_progress("counting")
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, inspection: Inspection) -> Fake:
    """planner.inspect replaced by a function that answers at once."""
    function = Fake(inspection)
    monkeypatch.setattr(planner, "inspect", function)
    return function


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["inspect", *words])


def test_defaults_are_those_of_the_library(fake: Fake) -> None:
    run("model.py")
    own = signature(inspect).parameters
    assert fake.target == "model.py"
    for name, value in fake.options.items():
        if name in own:
            assert value == (own[name].default or {}), name
    rest = {name: value for name, value in fake.options.items() if name not in own}
    asked = model_request("model.py", **rest)
    usual = model_request("model.py", on_progress=asked.progress)
    assert replace(asked, step_words={}) == usual


def test_every_option_reaches_the_library(fake: Fake) -> None:
    result = run(
        "models/gpt2.py:build_model", "--batch", "4", "--depth", "0", "--precision", "AMP-BF16",
        "--model-arg", "depth=2", "--model-arg", "tied=true", "--input", "ids=16:int64",
        "--gpu", "t4", "--timeout", "2m", "-q",
    )  # fmt: skip
    assert result.exit_code == 0
    assert result.stderr == ""
    assert fake.target == "models/gpt2.py:build_model"
    assert fake.options["model_arguments"] == {"depth": 2, "tied": True}
    assert (fake.options["depth"], fake.options["gpu"], fake.options["timeout_s"]) == (0, "t4", 120)
    config = step_config(
        {name: fake.options[name] for name in ("batch_size", "precision", "inputs")}
    )
    assert (config.batch_size, config.precision) == (4, Precision.AMP_BF16)
    assert config.inputs[0].shape == (16,)


def test_table_on_stdout_and_progress_on_stderr(fake: Fake) -> None:
    result = run("model.py")
    assert result.exit_code == 0
    assert result.stdout.startswith("models/net.py\n")
    assert "0 .. 1" in result.stdout
    assert "counting" in result.stderr


def test_json_is_the_document(fake: Fake, inspection: Inspection) -> None:
    result = run("model.py", "--json")
    assert json.loads(result.stdout) == inspection.to_dict()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownGpuError("no card 'b52'"), 2),
        (TargetError("model.py says nothing about its input; give --input 3x224x224"), 1),
        (ModelError("the model's code failed", '  File "model.py", line 3, in forward'), 1),
    ],
)
def test_errors(fake: Fake, error: PlannerError, code: int) -> None:
    fake.result = error
    result = run("model.py", "-q")
    assert (result.exit_code, result.stdout) == (code, "")
    frames = f"{error.frames}\n" if isinstance(error, ModelError) else ""
    assert result.stderr == f"error: {error}\n{frames}"


@pytest.mark.parametrize(
    "words", [(), ("model.py", "--depth", "-1"), ("model.py", "--precision", "fp4")]
)
def test_wrong_usage(fake: Fake, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "inspect --help" in result.stderr


@pytest.mark.parametrize("depth", [-1, 1.5, True, "2"])
def test_the_library_refuses_such_a_depth(depth: Any) -> None:
    with pytest.raises(PlannerError, match="depth must be a whole number"):
        inspect("model.py", depth=depth)


def test_the_sequence_length_reaches_the_library(fake: Fake) -> None:
    run("model.py", "--seq", "2048")
    assert fake.options["sequence_length"] == 2048
