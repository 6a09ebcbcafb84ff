"""Notes which environment variables are read through os.environ.

In: nothing. Out: names, and whether the environment was read as a whole. Variables that libraries
in C read are not seen here: the parent knows them by their prefixes (process/kept/key.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

_VIEWS = "_collections_abc"
_TQDM = os.path.join("tqdm", "utils.py")
_FRAMES_OF_A_VIEW = 4  # os.environ's, that of the view, a generator, its function


@dataclass(slots=True)
class VariablesRead:
    """Names that were asked for, whether they were set or not."""

    names: set[str] = field(default_factory=set)
    all: bool = False


class _Noted(dict[Any, Any]):
    """The dictionary behind os.environ, which notes what is read."""

    noted: VariablesRead

    def __getitem__(self, key: Any) -> Any:
        # os.environ.items() and values() read each name that __iter__ has given.
        caller = sys._getframe(1).f_back
        if caller is None or not _is_view(caller):
            self.noted.names.add(os.fsdecode(key))
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        if not _is_by_prefix():
            self.noted.all = True
        return super().__iter__()

    def items(self) -> Any:
        """Returns all of it."""
        self.noted.all = True
        return super().items()


def _is_view(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_name == "__iter__" and _VIEWS in code.co_filename


def _is_by_prefix() -> bool:
    """Returns whether tqdm reads: it takes those variables alone whose names begin with TQDM_."""
    frame = sys._getframe(1).f_back
    for _ in range(_FRAMES_OF_A_VIEW):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith(_TQDM):
            return True
        frame = frame.f_back
    return False


def note_variables(into: VariablesRead) -> None:
    """Notes from now on what is read."""
    environ: Any = os.environ
    data = _Noted(environ._data)
    data.noted = into
    environ._data = data
    bytes_environ: Any = os.environb
    bytes_environ._data = data
