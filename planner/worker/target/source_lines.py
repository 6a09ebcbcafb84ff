"""The line of the user's code that caused something: FILE:LINE.

In: Python frames, innermost first. Out: the innermost that is not torch's, planner's, the standard
library's or generated. Convention: a model's library (transformers, timm) counts as the user's
code; callers of planner do not.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch

_PACKAGES = tuple({sysconfig.get_path(name) + "/" for name in ("purelib", "platlib")})
_STANDARD = tuple({sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib")})
_OUTERMOST = str(Path(__file__).parents[1] / "drive" / "measure.py")
_OWN = (str(Path(__file__).resolve().parents[2]) + "/", str(Path(torch.__file__).parent) + "/")
_GENERATED = "/torchinductor_"  # followed by the user's name, in the folder for temporary files
_inductor = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")


def innermost(frames: Iterable[Mapping[str, Any]]) -> str:
    """Returns the line from frames of torch's memory snapshot; "" if none is the user's."""
    for frame in frames:
        filename = frame["filename"]
        if _is_users(filename):
            return f"{filename}:{frame['line']}"
        if filename == _OUTERMOST:
            break
    return ""


def of_caller() -> str:
    """Returns the running line that called into torch or planner; "" if it is not the user's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if _is_users(filename):
            return f"{filename}:{frame.f_lineno}"
        if filename == _OUTERMOST:
            break
        frame = frame.f_back
    return ""


@functools.cache
def _is_users(filename: str) -> bool:
    if filename.startswith(("<", *_OWN)) or not filename:
        return False
    if _GENERATED in filename or (_inductor and filename.startswith(_inductor)):
        return False  # code that torch.compile has written
    return filename.startswith(_PACKAGES) or not filename.startswith(_STANDARD)
