"""What building a library's class from a config needs: its dtype, and the keys that it takes.

In: a dtype; a class and a config. Out: a context; keywords. Convention: as from_pretrained does it,
where the class itself names no dtype and refuses unknown keys.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def built_in(dtype: torch.dtype) -> Iterator[None]:
    """Makes `dtype` torch's default within the context."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def known_keys(made: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys of a config that a class takes."""
    taken = inspect.signature(made.__init__).parameters
    return {key: value for key, value in values.items() if key in taken}
