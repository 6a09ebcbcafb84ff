"""Packages that a library would import on the way, although the task has no use for them.

In: their names. Out: a context (or decorator) in which they cannot be found. Convention: one that
has been imported already stays; after the context all of them can be imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from planner.config.published import TaskConfig

# transformers and peft import both where they are installed, to look for weights of their kinds
# (bitsandbytes alone takes as long as half of torch).
_QUANTISING = ("torchao", "bitsandbytes")


def unused_by(task: TaskConfig) -> tuple[str, ...]:
    """Returns the packages that have no part in the task."""
    return () if task.weights_quant is not None else _QUANTISING


@contextmanager
def hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Makes the packages look as if they were not installed."""
    taken = [name for name in packages if name not in sys.modules]
    modules: dict[str, object] = sys.modules  # type: ignore[assignment] # None: cannot be imported
    modules.update(dict.fromkeys(taken))
    try:
        yield
    finally:
        for name in taken:
            modules.pop(name, None)
