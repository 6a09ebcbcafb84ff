"""Notebooks become scripts: Python stays, line for line; what IPython adds does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from planner.errors import UsageError
from planner.process.script.notebook import notebook_as_script, script_of

CELLS = [
    "%load_ext autoreload\n%autoreload 2\n!pip install torch\nimport helper",
    "%%bash\nrm -rf /",
    "%%time\nif helper.ONE:\n    !ls\n    files = !ls\n    print('one', files)",
    "text = ('%d'\n        % 3)\nassert 1 != 2 and (1\n    != 2)\ndisplay(text)\nhelper?",
]


def notebook(folder: Path, cells: list[str], **metadata: Any) -> Path:
    content = {
        "cells": [
            {"cell_type": "markdown", "source": ["# A title"]},
            *({"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells),
        ],
        "metadata": metadata,
        "nbformat": 4,
    }
    file = folder / "train.ipynb"
    file.write_text(json.dumps(content))
    return file


def test_a_notebook_runs_as_a_script_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("ONE = 1\n")
    notebook(tmp_path, CELLS)
    with notebook_as_script(["train.ipynb", "--flag"], tmp_path) as words:
        assert words[0] == "python"
        assert words[2] == "--flag"
        run = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True)
        assert (run.stderr, run.stdout) == ("", "one None\n3\n")
    assert not Path(words[1]).exists()


def test_its_interpreter_may_be_named(tmp_path: Path) -> None:
    notebook(tmp_path, CELLS)
    with notebook_as_script(["python3.11", "train.ipynb"], tmp_path) as words:
        assert words[0] == "python3.11"
        assert words[1].endswith("train.py")


@pytest.mark.parametrize("program", [("python", "convert.py"), ("jupyter",)])
def test_another_command_stays_as_it_is(program: tuple[str, ...], tmp_path: Path) -> None:
    command = (*program, "train.ipynb")
    with notebook_as_script(command, tmp_path) as words:
        assert words == command


def test_what_is_no_notebook_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no notebook"):
        script_of(tmp_path / "train.ipynb")
    (tmp_path / "train.ipynb").write_text("not JSON")
    with pytest.raises(UsageError, match="cannot be read as a notebook"):
        script_of(tmp_path / "train.ipynb")
    with pytest.raises(UsageError, match="no code cell"):
        script_of(notebook(tmp_path, []))
    with pytest.raises(UsageError, match="its language is R"):
        script_of(notebook(tmp_path, CELLS, kernelspec={"language": "R"}))
