"""The worst case of decisions by drawn numbers: every mask all true, every first place taken.

In: an operator and its results on the host, of drawn numbers. Out: results for the largest size.
Convention: each decision is taken to its extreme by itself; two of them may contradict each other
(x > 0 and x <= 0), which errs on the side of memory.
"""

from __future__ import annotations

from typing import Any

import torch

_COMPARISONS = {"aten::gt", "aten::ge", "aten::lt", "aten::le", "aten::eq", "aten::ne"}
_CHANCES = {"aten::bernoulli", "aten::bernoulli_"}
_FIRST = {"aten::argmax", "aten::argmin", "aten::multinomial"}
_PLACES = {"aten::topk", "aten::sort"}


def at_most(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Any:
    """Returns the results for the largest size; results of other operators unchanged."""
    if name in _CHANCES or (name.removesuffix("_") in _COMPARISONS and _is_of_numbers(args)):
        return torch.ones_like(value)
    if name in _FIRST and isinstance(value, torch.Tensor):
        if name == "aten::multinomial" and value.numel() and not _replaces(args):
            return _counted(value, -1)
        return torch.zeros_like(value)
    if name in _PLACES:
        values, places = value
        return values, _counted(places, _dim(name, args, kwargs))
    if name in ("aten::max", "aten::min") and isinstance(value, tuple):
        return value[0], torch.zeros_like(value[1])
    if name == "aten::argsort":
        return _counted(value, _dim(name, args, kwargs))
    if name == "torchvision::nms":
        return torch.arange(args[0].shape[0])
    return value


def _is_of_numbers(args: tuple[Any, ...]) -> bool:
    """Returns whether floats are compared; integers were decided before."""
    return any(isinstance(one, torch.Tensor) and one.is_floating_point() for one in args)


def _counted(places: torch.Tensor, dim: int) -> torch.Tensor:
    """Returns 0, 1, 2 ... along `dim`."""
    if not places.dim():
        return torch.zeros_like(places)
    shape = [1] * places.dim()
    shape[dim] = places.shape[dim]
    return torch.arange(places.shape[dim]).view(shape).expand(places.shape).contiguous()


def _dim(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    if "dim" in kwargs:
        return int(kwargs["dim"])
    position = 2 if name == "aten::topk" else 1
    numbers = [a for a in args[position:] if isinstance(a, int) and not isinstance(a, bool)]
    return numbers[0] if numbers else -1


def _replaces(args: tuple[Any, ...]) -> bool:
    return len(args) > 2 and bool(args[2])
