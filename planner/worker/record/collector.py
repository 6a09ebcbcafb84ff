"""Python's cyclic garbage collector, kept still while something is measured."""

from __future__ import annotations

import gc
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
    """Collect garbage, then keep the collector from running: its timing moves peaks."""
    gc.collect()
    with collector_stopped():
        yield
