"""The words of a command: its Python is found, and what cannot be run is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import UsageError
from planner.process.script.words import batch_place, script_command, with_value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script and some programs on the path."""
    (tmp_path / "train.py").write_text("import torch\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    contents = {
        "python": "", "python3.12": "", "uv": "\x7fELF",
        "accelerate": "#!/opt/env/bin/python3.11\nimport accelerate\n",
        "torchrun": "#!/usr/bin/env -S python3\n",
        "far": "#!/bin/sh\n'''exec' /very/long/python3.12 \"$0\" \"$@\"\n' '''\n",
        "train.sh": "#!/bin/bash\npython train.py\n",
    }  # fmt: skip
    for name, text in contents.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "interpreter"),
    [
        (["python", "train.py", "--lr", "1"], ("python",)),
        (["python3.12", "-u", "train.py"], ("python3.12",)),
        (["python", "-m", "pkg.train"], ("python",)),
        (["uv", "run", "python", "train.py"], ("uv", "run", "python")),
        (["accelerate", "launch", "train.py"], ("/opt/env/bin/python3.11",)),
        (["torchrun", "train.py"], ("python3",)),
        (["far", "x"], ("/very/long/python3.12",)),
        (["train.sh"], ("python",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_interpreter_is_found(
    folder: Path, words: list[str], interpreter: tuple[str, ...]
) -> None:
    found = script_command(words, folder)
    assert found.words == tuple(words)
    assert found.interpreter == interpreter


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which command trains"),
        ([" "], "say which command trains"),
        (["train.py"], "write `python train.py`"),
        (["nothing-here"], "there is no command 'nothing-here'"),
        (["python"], "starts Python without a script"),
        (["python", "other.py"], "there is no script other.py in"),
        (["python", "-I", "train.py"], "python -I ignores PYTHONPATH"),
        (["python", "-uE", "train.py"], "python -uE ignores PYTHONPATH"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_run_is_refused(folder: Path, words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        script_command(words, folder)


@pytest.mark.parametrize(
    ("words", "name", "replaced"),
    [
        (["p", "--bs", "8", "--lr", "1"], "--bs", ("p", "--bs", "16", "--lr", "1")),
        (["p", "--bs=8"], "--bs", ("p", "--bs=16")),
        (["p", "batch_size=8", "x=1"], "batch_size=", ("p", "batch_size=16", "x=1")),
        (["p", "batch_size=8"], "batch_size", ("p", "batch_size=16")),
    ],
)
def test_the_value_of_an_argument_is_replaced(
    words: list[str], name: str, replaced: tuple[str, ...]
) -> None:
    assert with_value(words, name, 16) == replaced


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["p", "--lr", "1"], "is not in the command"),
        (["p", "--bs"], "is not in the command"),
        (["p", "--bs", "big"], "must be a whole number"),
        (["p", "--bs=0"], "must be a whole number"),
    ],
)
def test_an_argument_without_a_batch_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        batch_place(words, "--bs")
