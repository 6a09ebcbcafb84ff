"""Answers what libraries ask about the card while they are imported, without starting CUDA.

In: nothing. Out: a context for the import. Convention: a forked process asks the card, so that this
one stays clean and every later run can be a fork of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch

from planner.worker.reads import recorder

_ANSWERED = ("get_device_properties", "get_device_capability", "current_device")
_PLAIN = (int, float, str, bool)


@contextmanager
def card_stays_untouched() -> Iterator[None]:
    """Replaces the queries of torch.cuda that would start CUDA; torchao and bitsandbytes use them.

    Without a card, or if it has been started, nothing is replaced.
    """
    cuda: Any = torch.cuda
    known = None if cuda.is_initialized() or not cuda.is_available() else _asked_in_a_fork()
    if known is None:
        yield
        return
    properties = SimpleNamespace(**known)
    original = {name: getattr(cuda, name) for name in _ANSWERED}
    cuda.get_device_properties = lambda device=None: properties
    cuda.get_device_capability = lambda device=None: (properties.major, properties.minor)
    cuda.current_device = lambda: 0
    try:
        yield
    finally:
        for name, function in original.items():
            setattr(cuda, name, function)


@cache
def _asked_in_a_fork() -> dict[str, Any] | None:
    """Returns the properties of the first card; None if the forked process cannot have them."""
    read_end, write_end = os.pipe()
    with recorder.paused():
        pid = os.fork()
    if pid == 0:
        try:
            found = torch.cuda.get_device_properties(0)
            plain = {
                name: value
                for name in dir(found)
                if not name.startswith("_") and isinstance(value := getattr(found, name), _PLAIN)
            }
            os.write(write_end, json.dumps(plain).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        content = answer.read()
    os.waitpid(pid, 0)
    return json.loads(content) if content else None
