"""Model files on disk, and a process that is the same after each test."""

from __future__ import annotations

import gc
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from planner.config.target import Scalar, Target, TargetKind

WriteModel = Callable[..., Target]


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    path, hooks, modules = list(sys.path), list(sys.path_hooks), set(sys.modules)
    gc.freeze()  # each run collects garbage; it need not look at all of pytest
    yield
    sys.path[:], sys.path_hooks[:] = path, hooks
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "pytest" in file and "site-packages" not in file:
            del sys.modules[name]
    sys.path_importer_cache.clear()
    gc.unfreeze()


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Write a model file and name it as a target."""

    def write(
        text: str,
        name: str | None = None,
        file: str = "user_model.py",
        **arguments: Scalar,
    ) -> Target:
        path = tmp_path / file
        path.write_text(textwrap.dedent(text))
        return Target(
            kind=TargetKind.FILE,
            location=str(path),
            name=name,
            arguments=tuple(arguments.items()),
        )

    return write
