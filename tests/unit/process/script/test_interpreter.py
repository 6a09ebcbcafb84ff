"""What a Python says of itself and its torch, and what is no Python."""

from __future__ import annotations

import subprocess  # noqa: F401  # its tests start processes: they are not quick
import sys
from pathlib import Path

import pytest

from planner.emulator.torch_install import find_torch
from planner.errors import UnsupportedPlatformError, UsageError
from planner.process.script.interpreter import interpreter_of


def test_this_python_has_the_torch_that_is_found_here(tmp_path: Path) -> None:
    found = interpreter_of([sys.executable], tmp_path)
    assert found.version == sys.version.split()[0]
    assert found.torch == find_torch()


def test_a_python_without_torch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedPlatformError, match="torch is not installed"):
        interpreter_of([sys.executable, "-S"], tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("#!/bin/sh\necho no >&2; exit 3\n", "does not answer as Python: no"),
     ("#!/bin/sh\necho 'planner-interpreter {\"version\": \"3.8.1\"}'\n", "is Python 3.8.1")],
)  # fmt: skip
def test_what_is_no_python_is_refused(tmp_path: Path, text: str, said: str) -> None:
    program = tmp_path / "python"
    program.write_text(text)
    program.chmod(0o755)
    with pytest.raises((UsageError, UnsupportedPlatformError), match=said):
        interpreter_of([str(program)], tmp_path)
