from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest
import torch

import planner.worker.drive.measure
from planner.worker.target.source_lines import innermost, of_caller

TORCH = f"{Path(torch.__file__).parent}/nn/modules/linear.py"
PLANNER = planner.worker.drive.measure.__file__
LIBRARY = f"{sysconfig.get_path('purelib')}/transformers/models/gpt2.py"
STANDARD = f"{sysconfig.get_path('stdlib')}/contextlib.py"
LOOP = PLANNER.replace("measure.py", "checkpointing.py")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([TORCH, "/home/me/model.py", "/home/me/train.py"], "/home/me/model.py:2"),
        ([TORCH, STANDARD, LIBRARY, "/home/me/model.py"], f"{LIBRARY}:3"),
        ([TORCH, LOOP, "/home/me/model.py", PLANNER], "/home/me/model.py:3"),
        ([TORCH, "<string>", "<frozen runpy>"], ""),
        ([TORCH, PLANNER, "/home/me/calls_planner.py"], ""),
        (["/tmp/torchinductor_me/ab/cabc.py", TORCH, "/home/me/model.py"], "/home/me/model.py:3"),
        ([], ""),
    ],
)
def test_the_innermost_line_that_is_the_users(files: list[str], expected: str) -> None:
    frames = [{"filename": file, "line": i + 1, "name": "f"} for i, file in enumerate(files)]
    assert innermost(frames) == expected


def test_of_the_caller() -> None:
    line = sys._getframe().f_lineno + 1
    assert of_caller() == f"{__file__}:{line}"
