"""The library below PyTorch's profiler, kept from writing to the terminal.

In: a block that starts the profiler. Out: the block, run in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_kineto() -> Iterator[None]:
    """Kineto reads what it may print to stderr when it starts; nobody inherits the variable."""
    name = "KINETO_LOG_LEVEL"
    if name in os.environ:
        yield
        return
    os.environ[name] = "99"
    try:
        yield
    finally:
        del os.environ[name]
