"""Nothing that disturbs a measurement: Python's collector kept still, the profiler kept silent.

In: a block. Out: the block, run so.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_stopped() -> Iterator[None]:
    """Records by the ten thousand, none of them garbage, would set the collector off."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collects garbage, then keep the collector from running: its timing moves peaks."""
    gc.collect()
    with collector_stopped():
        yield


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
