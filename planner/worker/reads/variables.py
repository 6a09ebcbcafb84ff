"""Notes which environment variables are read through os.environ.

In: nothing. Out: names, and whether the environment was read as a whole. Variables that libraries
in C read are not seen here: the parent knows them by their prefixes (process/kept/key.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class VariablesRead:
    """Names that were asked for, whether they were set or not."""

    names: set[str] = field(default_factory=set)
    all: bool = False


class _Noted(dict[Any, Any]):
    """The dictionary behind os.environ, which notes what is read."""

    noted: VariablesRead

    def __getitem__(self, key: Any) -> Any:
        self.noted.names.add(os.fsdecode(key))
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        self.noted.all = True
        return super().__iter__()

    def __len__(self) -> int:
        self.noted.all = True
        return super().__len__()

    def items(self) -> Any:
        """Returns all of it."""
        self.noted.all = True
        return super().items()


def note_variables(into: VariablesRead) -> None:
    """Notes from now on what is read."""
    environ: Any = os.environ
    data = _Noted(environ._data)
    data.noted = into
    environ._data = data
    bytes_environ: Any = os.environb
    bytes_environ._data = data
