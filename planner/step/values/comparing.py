"""Comparisons whose result is certain whatever the unknown numbers are, if they are finite.

In: a comparison and its arguments. Out: True, False or None. Convention: an unknown number is
finite, so that a test for NaN or infinity finds none.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from planner.step.values import twins

_NAMES = ("aten::eq", "aten::ne", "aten::gt", "aten::ge", "aten::lt", "aten::le")
_SAME = dict(zip(_NAMES, (True, False, False, True, False, True), strict=True))
_WITH_INFINITY = dict(zip(_NAMES, (False, True, False, False, True, True), strict=True))
_WITH_MINUS_INFINITY = dict(zip(_NAMES, (False, True, True, True, False, False), strict=True))


def certain(name: str, args: tuple[Any, ...]) -> bool | None:
    """What every element of the comparison is; None where it depends on values.

    Of a tensor whose values are known, and not only drawn, None: they decide.
    """
    name = name.removesuffix("_")
    if len(args) < 2 or not isinstance(args[0], torch.Tensor) or not twins.is_plain(args[0]):
        return None
    if is_exact(args[0]) or not args[0].is_floating_point():
        return None
    other = args[1]
    if isinstance(other, float) and not math.isfinite(other):
        if math.isnan(other):
            return name == "aten::ne"
        return (_WITH_INFINITY if other > 0 else _WITH_MINUS_INFINITY)[name]
    same = (
        isinstance(other, torch.Tensor)
        and twins.is_plain(other)
        and other.data_ptr() == args[0].data_ptr()
        and twins.view_key(other) == twins.view_key(args[0])
    )
    return _SAME[name] if same else None


def is_exact(tensor: torch.Tensor) -> bool:
    """Whether the values are known, and none of them was drawn."""
    twin = twins.twin_of(tensor)
    return twin is not None and twins.value_of(tensor) is not None and not twin.is_drawn


def is_certain(name: str, args: tuple[Any, ...]) -> bool:
    """Whether there is such a result."""
    return certain(name, args) is not None
