"""Keeps disturbances from a measurement: Python's collector and the profiler's messages.

In: a block. Out: the block, run without them.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_stopped() -> Iterator[None]:
    """Stops the collector: tens of thousands of live records would trigger it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collects garbage, then stops the collector, because its timing changes peaks."""
    gc.collect()
    with collector_stopped():
        yield


@contextmanager
def quiet_kineto() -> Iterator[None]:
    """Keeps Kineto from printing to stderr, by a variable that it reads at its start."""
    name = "KINETO_LOG_LEVEL"
    if name in os.environ:
        yield
        return
    os.environ[name] = "99"
    try:
        yield
    finally:
        del os.environ[name]
