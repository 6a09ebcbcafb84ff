"""Values of a form become words of a command line; what is no field is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from planner.cli.estimate import estimate
from planner.cli.form_fields import NO_FIELDS, defaults_note, form_fields
from planner.errors import UsageError
from planner.ui.fields import FieldKind, option_words

FIELDS = form_fields()
BY_NAME = {field.name: field for field in FIELDS}


def test_every_option_of_estimate_is_a_field_or_left_out_on_purpose() -> None:
    options = {one.opts[-1] for one in estimate.params if isinstance(one, click.Option)}
    assert {*BY_NAME} | NO_FIELDS == options | {"--help"}
    assert not {*BY_NAME} & NO_FIELDS


def test_fields_are_as_the_options_of_the_command() -> None:
    precision, batch, gpu = BY_NAME["--precision"], BY_NAME["--batch"], BY_NAME["--gpu"]
    assert precision.kind is FieldKind.CHOICE
    assert "amp-bf16" in precision.choices
    assert (batch.kind, batch.minimum, batch.default) == (FieldKind.NUMBER, 1, "8")
    assert gpu.kind is FieldKind.TEXT
    assert BY_NAME["--channels-last"].kind is FieldKind.SWITCH
    assert BY_NAME["--model-arg"].kind is FieldKind.LIST
    assert "UNSET" not in "".join(field.default for field in FIELDS)


def test_words_are_in_the_order_of_the_form() -> None:
    given = {
        "--model-arg": ["depth=12", " ", "width=3 4"], "--channels-last": True, "--gpu": "a100,t4",
        "--batch": 32, "--no-cache": False, "--seq": "",
    }  # fmt: skip
    assert option_words(FIELDS, given) == [
        "--gpu=a100,t4", "--batch=32", "--model-arg=depth=12", "--model-arg=width=3 4",
        "--channels-last",
    ]  # fmt: skip


def test_the_words_are_understood_by_the_command() -> None:
    given = {"--gpu": "--json", "--optimizer-arg": ["lr=-1"], "--ema": "0.5"}
    context = estimate.make_context("estimate", ["net.py", *option_words(FIELDS, given)])
    assert context.params["gpu"] == ("--json",)  # a value, and never an option
    assert context.params["as_json"] is False
    assert context.params["ema"] == 0.5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"--save": "/etc/passwd"}, "there is no option '--save'"),
        ({"--hardware-db": "/"}, "there is no option"),
        ({"--prices": "sky:/"}, "there is no option"),
        ({"--precison": "fp32"}, "did you mean --precision?"),
        ({"batch": 8}, "there is no option 'batch'"),
        ({"--batch": "0"}, "a whole number from 1, not '0'"),
        ({"--batch": "eight"}, "a whole number"),
        ({"--batch": "٣"}, "a whole number"),
        ({"--batch": True}, "text or a number"),
        ({"--gpu": ["a100"]}, "text or a number"),
        ({"--precision": "fp31"}, "is one of as-built, fp32"),
        ({"--channels-last": "yes"}, "true or false"),
        ({"--gpu": "a\nb"}, "one line"),
        ({"--gpu": "a" * 301}, "at most 300 characters"),
        ({"--model-arg": ["a=1"] * 21}, "20 are the most"),
        ({"--model-arg": [{}]}, "text or a number"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        option_words(FIELDS, given)
    assert says in str(caught.value)


def test_defaults_of_the_folder_are_named(tmp_path: Path) -> None:
    assert defaults_note(tmp_path) == ""
    (tmp_path / "planner.toml").write_text('[defaults]\ngpu = "a100"\nbatch = 8\n')
    assert defaults_note(tmp_path).endswith("planner.toml: gpu a100, batch 8")
    (tmp_path / "planner.toml").write_text("[default]\n")
    assert "did you mean [defaults]?" in defaults_note(tmp_path)
