"""Reads that torch makes inside an operator, and their results.

In: an operator's name and its arguments, whose values are known. Out: numbers in the order in which
torch's CUDA kernels read them, and which of them is a size. Convention: observed with torch 2.14 on
the emulated device; any other read is reported as unanswered, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

MASK_DTYPES = (torch.bool, torch.uint8)
# Operators that a mask among their arguments decides.
MASKED = {
    "aten::masked_select", "aten::index", "aten::_unsafe_index", "aten::index_put",
    "aten::index_put_", "aten::_index_put_impl_", "aten::masked_scatter_backward",
}  # fmt: skip
ValueOf = Callable[[torch.Tensor], torch.Tensor | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A number that is read; `bounds` of the size that it decides, None where it decides none.

    `assumed`: the values that decide it are not known, and the largest is taken.
    """

    number: int | float
    assumed: bool = False
    is_size: bool = False
    bounds: tuple[int, int] | None = None


def expected_reads(
    name: str, args: Sequence[Any], value_of: ValueOf, *, most: bool = False
) -> list[Expected] | None:
    """Returns the results of the reads inside a call; None if they are not known.

    With `most`, nms keeps all boxes, although drawn numbers would remove some.
    """
    if most and name == "torchvision::nms":
        return [_size(args[0].shape[0], (0, args[0].shape[0]))]
    rule = _RULES.get(name)
    if rule is not None:
        return rule(args, value_of)
    if name.startswith(("aten::_linalg", "aten::linalg")):
        return []  # status words, and 0 is success
    return None


def _nonzero(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    return _count(args[0], value_of)


def _count(mask: torch.Tensor, value_of: ValueOf) -> list[Expected] | None:
    value = value_of(mask)
    if value is None:
        return None
    return [_size(int(torch.count_nonzero(value)), (0, value.numel()))]


def _size(number: int, bounds: tuple[int, int] | None) -> Expected:
    return Expected(number=number, is_size=True, bounds=bounds)


def _masks(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    found: list[Expected] = []
    for index in args[1]:
        if isinstance(index, torch.Tensor) and index.dtype in MASK_DTYPES:
            one = _count(index, value_of)
            if one is None:
                return None
            found += one
    return found


def _masked_select(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    mask = value_of(args[1])
    if mask is None:
        return None
    broadcast: Any = torch.broadcast_shapes  # untyped in torch
    mask = mask.expand(broadcast(args[0].shape, mask.shape))
    return [_size(int(torch.count_nonzero(mask)), (0, mask.numel()))]


def _unique(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    value = value_of(args[0])
    if value is None:
        return None
    if value.dtype is torch.bool:  # how many are True is counted
        return [_size(int(torch.count_nonzero(value)), (0, value.numel()))]
    return [_size(torch.unique(value).numel(), (1, value.numel()))]


def _isin(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    """Returns the reads of isin: where it sorts, it first removes duplicates on both sides."""
    found: list[Expected] = []
    for tensor in args[:2]:
        one = _unique([tensor], value_of) if isinstance(tensor, torch.Tensor) else []
        if one is None:
            return None
        found += one
    return found


def _unique_dim(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    value = value_of(args[0])
    if value is None:
        return None
    dim = args[1]
    return [_size(torch.unique(value, dim=dim).shape[dim], (1, value.shape[dim]))]


def _unique_consecutive(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    value = value_of(args[0])
    if value is None:
        return None
    dim = args[3] if len(args) > 3 else None
    found = torch.unique_consecutive(value, dim=dim)
    number = found.numel() if dim is None else found.shape[dim]
    return [_size(number, (1, value.numel() if dim is None else value.shape[dim]))]


def _repeat_interleave(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    repeats = value_of(args[0])
    if repeats is None:
        return None
    total = int(repeats.sum())
    return [_size(total, None), Expected(number=int(bool((repeats >= 0).all())))]


def _bincount(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    value = value_of(args[0])
    if value is None:
        return None
    if not value.numel():
        return []
    return [Expected(number=int(value.min())), _size(int(value.max()), None)]


def _extremes(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    value = value_of(args[0])
    if value is None:
        return [Expected(number=0.0), Expected(number=1.0)]  # the ends of a histogram
    return [Expected(number=float(value.min())), Expected(number=float(value.max()))]


def _equal(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    first, second = value_of(args[0]), value_of(args[1])
    if first is None or second is None:
        return None
    return [Expected(number=int(torch.equal(first, second)))]


def _allclose(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    first, second = value_of(args[0]), value_of(args[1])
    if first is None or second is None:
        return None
    return [Expected(number=int(torch.allclose(first, second, *args[2:])))]


def _coalesced(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    """Returns the number of different places in a sparse tensor."""
    indices = args[0]._indices()
    bounds = (min(1, indices.shape[1]), indices.shape[1])
    value = value_of(indices)
    if value is None:
        number = indices.shape[1]
        return [Expected(number=number, is_size=True, bounds=bounds, assumed=True)]
    return [_size(torch.unique(value, dim=1).shape[1] if value.numel() else 0, bounds)]


def _kept(args: Sequence[Any], value_of: ValueOf) -> list[Expected] | None:
    """Returns the number of boxes that torchvision's nms keeps, computed on the host."""
    boxes, scores = value_of(args[0]), value_of(args[1])
    if boxes is None or scores is None:
        return None
    nms: Any = torch.ops.torchvision.nms
    kept = nms(boxes.float(), scores.float(), args[2])
    return [_size(kept.numel(), (min(1, boxes.shape[0]), boxes.shape[0]))]


_RULES: dict[str, Callable[[Sequence[Any], ValueOf], list[Expected] | None]] = {
    "aten::nonzero": _nonzero,
    "aten::masked_select": _masked_select,
    "aten::masked_scatter_backward": _masked_select,  # it selects from the gradient
    "aten::index": _masks,
    "aten::_unsafe_index": _masks,
    "aten::index_put": _masks,
    "aten::index_put_": _masks,
    "aten::_index_put_impl_": _masks,
    "aten::_unique": _unique,
    "aten::_unique2": _unique,
    "aten::isin": _isin,
    "aten::unique_dim": _unique_dim,
    "aten::unique_consecutive": _unique_consecutive,
    "aten::repeat_interleave": _repeat_interleave,
    "aten::bincount": _bincount,
    "aten::histc": _extremes,
    "aten::_coalesce": _coalesced,
    "aten::equal": _equal,
    "aten::allclose": _allclose,
    "torchvision::nms": _kept,
}
