"""Sizes that the caller gives to places of the code (--size-at FILE:LINE=N).

In: places and sizes, and operators about to run there. Out: values that make the operator give that
size. Convention: a place is named by the end of its path and its line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from planner.errors import UsageError
from planner.wire.value_reads import ReadSite
from planner.worker.values import read_sites, twins
from planner.worker.values.hidden_reads import MASK_DTYPES

if TYPE_CHECKING:
    from planner.worker.values.drawing import Drawing
    from planner.worker.values.reader import AnsweringReads

_MASKS = {
    "aten::nonzero": 0, "aten::masked_select": 1, "aten::index": 1, "aten::_unsafe_index": 1,
    "aten::index_put": 1, "aten::index_put_": 1, "aten::_index_put_impl_": 1,
}  # fmt: skip
_DISTINCT = {"aten::_unique", "aten::_unique2", "aten::unique_consecutive"}


class FixedSizes:
    """Sizes by (file, line)."""

    def __init__(self, sizes: Mapping[tuple[str, int], int]) -> None:
        self._sizes = dict(sizes)

    def __bool__(self) -> bool:
        return bool(self._sizes)

    def apply(
        self, name: str, args: tuple[Any, ...], reads: AnsweringReads, drawing: Drawing
    ) -> None:
        """Changes the operator's argument so that it gives the size of the place, if there is one.

        Raises:
            UsageError: the size cannot be had there.
        """
        if name not in _MASKS and name not in _DISTINCT and name not in _NUMBERS:
            return
        site = read_sites.site_of(sys._getframe(2))
        size = self._at(site)
        if size is None:
            return
        reads.fixed.add((site.file, site.line))
        for tensor in self._arguments(name, args):
            drawing.make_known(tensor)
            value = twins.value_of(tensor)
            if value is not None:
                _NUMBERS.get(name, _mask if name in _MASKS else _distinct)(value, size, site)

    def _at(self, site: ReadSite) -> int | None:
        for (file, line), size in self._sizes.items():
            if site.line == line and (site.file == file or site.file.endswith(f"/{file}")):
                return size
        return None

    def _arguments(self, name: str, args: tuple[Any, ...]) -> list[torch.Tensor]:
        argument = args[_MASKS.get(name, 0)]
        if isinstance(argument, torch.Tensor):
            return [argument] if twins.is_plain(argument) else []
        return [
            one
            for one in argument
            if isinstance(one, torch.Tensor) and twins.is_plain(one) and one.dtype in MASK_DTYPES
        ]


def _mask(value: torch.Tensor, size: int, site: ReadSite) -> None:
    if size > value.numel():
        raise UsageError(
            f"a size of {size} was given for {site.file}:{site.line}, but the mask that is read "
            f"there has {value.numel()} elements; give at most that"
        )
    made = torch.zeros(value.numel(), dtype=value.dtype)
    if size:  # spread evenly
        made[torch.arange(size) * value.numel() // size] = 1
    value.copy_(made.view(value.shape))


def _distinct(value: torch.Tensor, size: int, site: ReadSite) -> None:
    if not 0 < size <= value.numel():
        raise UsageError(
            f"a size of {size} was given for {site.file}:{site.line}, but from {value.numel()} "
            f"elements 1 to {value.numel()} distinct ones can come"
        )
    made = torch.arange(value.numel()) * size // value.numel()
    value.copy_(made.view(value.shape))


def _repeats(value: torch.Tensor, size: int, site: ReadSite) -> None:
    count = value.numel()
    if not count:
        return
    made = torch.full((count,), size // count, dtype=value.dtype)
    made[: size % count] += 1
    value.copy_(made.view(value.shape))


def _number(value: torch.Tensor, size: int, site: ReadSite) -> None:
    value.fill_(size)


_NUMBERS = {"aten::repeat_interleave": _repeats, "aten::_local_scalar_dense": _number}
