"""Comparisons with a certain result for all finite unknown numbers.

In: a comparison and its arguments. Out: True, False or None. Convention: an unknown number is
finite, so that a test for NaN or infinity finds none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from planner.worker.values import twins

_NAMES = ("aten::eq", "aten::ne", "aten::gt", "aten::ge", "aten::lt", "aten::le")
_SAME = dict(zip(_NAMES, (True, False, False, True, False, True), strict=True))
_WITH_INFINITY = dict(zip(_NAMES, (False, True, False, False, True, True), strict=True))
_WITH_MINUS_INFINITY = dict(zip(_NAMES, (False, True, True, True, False, False), strict=True))


def certain(name: str, args: tuple[Any, ...]) -> bool | None:
    """Returns the value of all elements of the comparison; None if it depends on values.

    None for a tensor with known or drawn values too: they decide.
    """
    name = name.removesuffix("_")
    if len(args) < 2 or not isinstance(args[0], torch.Tensor) or not twins.is_plain(args[0]):
        return None
    if twins.value_of(args[0]) is not None or not args[0].is_floating_point():
        return None
    if not is_finite(args[0]):
        return None
    other = args[1]
    if isinstance(other, float) and not math.isfinite(other):
        if math.isnan(other):
            return name == "aten::ne"
        return (_WITH_INFINITY if other > 0 else _WITH_MINUS_INFINITY)[name]
    return _SAME[name] if asks_for_finiteness(name, args) else None


def asks_for_finiteness(name: str, args: tuple[Any, ...]) -> bool:
    """Returns whether a comparison is with infinity, NaN or itself: drawn numbers suffice."""
    if name.removesuffix("_") not in _NAMES or len(args) < 2:
        return False
    other = args[1]
    if isinstance(other, float):
        return not math.isfinite(other)
    return (
        isinstance(other, torch.Tensor)
        and isinstance(args[0], torch.Tensor)
        and twins.is_plain(other)
        and twins.is_plain(args[0])
        and other.data_ptr() == args[0].data_ptr()
        and twins.view_key(other) == twins.view_key(args[0])
    )


def is_finite(tensor: torch.Tensor) -> bool:
    """Returns whether the program has put neither infinities nor NaN into the unknown values."""
    twin = twins.twin_of(tensor)
    return twin is None or not twin.infinite


def puts_infinities(values: Iterable[Any]) -> bool:
    """Returns whether an argument is infinite or NaN, as in masked_fill(mask, -inf)."""
    return any(
        not math.isfinite(float(value))
        for value in values
        if isinstance(value, float)
        or (
            isinstance(value, torch.Tensor)
            and value.dim() == 0
            and value.device.type == "cpu"
            and value.is_floating_point()
        )
    )


def is_certain(name: str, args: tuple[Any, ...]) -> bool:
    """Returns whether the comparison has a certain result."""
    return certain(name, args) is not None
