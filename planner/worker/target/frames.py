"""The user's own part of a traceback, as text.

In: an exception. Out: lines like Python's own traceback, without the frames of planner, of torch
and of the import machinery. Convention: outermost call first, as Python prints it.
"""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import torch

_PLANNER = str(Path(__file__).resolve().parents[2])
_TORCH = str(Path(torch.__file__).resolve().parent)
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_MAX_FRAMES = 12


def user_frames(error: BaseException) -> str:
    """Returns the frames of `error` in the user's code.

    If the user has none (a library's model was named), returns the frames of that library; if only
    planner's and torch's are left, "".
    """
    stack = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not _is_internal(frame.filename)
    ]
    own = [frame for frame in stack if not _is_library(frame.filename)]
    chosen = own or stack
    return "\n".join(_text(frame) for frame in chosen[-_MAX_FRAMES:])


def text_of(error: BaseException) -> str:
    """Returns the text of an exception; "" if it has none, or its own code fails to give it."""
    try:
        return str(error).strip()
    except BaseException:  # the user's class, which may do anything
        return ""


def describe(error: BaseException) -> str:
    """Returns `ValueError: text`, or only the class name if there is no text."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def first_line(error: BaseException, limit: int = 200) -> str:
    """Returns the first line of `describe`, cut to `limit`, for use inside a sentence."""
    line = describe(error).splitlines()[0].rstrip(".")
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _is_internal(filename: str) -> bool:
    if filename.startswith("<frozen "):
        return True
    return _is_under(filename, _PLANNER) or _is_under(filename, _TORCH)


def _is_library(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    return any(_is_under(filename, root) for root in _LIBRARIES)


def _is_under(filename: str, root: str) -> bool:
    return filename.startswith(root + "/")


def _text(frame: traceback.FrameSummary) -> str:
    head = f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    return f"{head}\n    {frame.line}" if frame.line else head
