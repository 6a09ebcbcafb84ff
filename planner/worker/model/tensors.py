"""Nested tuples, lists, mappings and dataclasses of tensors: walked in one order everywhere.

In: a batch or a model's output. Out: the same nesting mapped, or its tensors with their paths.
Convention: insertion order, depth first; a leaf that is not a tensor is passed through, and so is a
dataclass without tensors.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

_COMPRESSED_ROWS = (torch.sparse_csr, torch.sparse_bsr)
_COMPRESSED_COLUMNS = (torch.sparse_csc, torch.sparse_bsc)
_PACKED = ("data", "sorted_indices", "unsorted_indices")  # batch_sizes are lengths: on the host


def is_float(dtype: torch.dtype) -> bool:
    """Returns whether tensors of the dtype hold fractions: no indices, flags or counts."""
    return dtype.is_floating_point or dtype.is_complex


def map_tensors(tree: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Returns the same nesting with `function` applied to every tensor; mappings become dicts."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, function) for key, value in tree.items()}
    if isinstance(tree, PackedSequence):
        return tree._replace(**{key: function(value) for key, value in _packed(tree)})
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(value, function) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_tensors(value, function) for value in tree)
    if is_record(tree) and any(True for _ in tensors_in(tree)):
        mapped = copy.copy(tree)
        for name, value in _fields(tree):
            object.__setattr__(mapped, name, map_tensors(value, function))
        return mapped
    return tree


def tensors_in(tree: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yields every tensor with its path: "", "[0]", "['ids']", ".boxes"."""
    yield from _walk(tree, path, ())


def tensor_leaves(tree: Any) -> list[torch.Tensor]:
    """Returns the tensors among the leaves of a tree, as torch's pytree flattens it."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _walk(tree: Any, path: str, within: tuple[int, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors below `tree`; `within` are the dataclasses around it, against cycles."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _walk(value, f"{path}[{key!r}]", within)
    elif isinstance(tree, PackedSequence):
        for key, value in _packed(tree):
            yield f"{path}.{key}", value
    elif isinstance(tree, (tuple, list)):
        for index, value in enumerate(tree):
            yield from _walk(value, f"{path}[{index}]", within)
    elif is_record(tree) and id(tree) not in within:
        for key, value in _fields(tree):
            yield from _walk(value, f"{path}.{key}", (*within, id(tree)))


def is_record(tree: Any) -> bool:
    """Returns whether `tree` is an object of a dataclass."""
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)


def parts_of(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns the dense parts of a tensor: indices and values of a sparse one, else the tensor.

    Each has one storage. An empty tuple is for a layout without such parts.
    """
    if tensor.layout is torch.strided:
        return (tensor,)
    if tensor.layout is torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in _COMPRESSED_ROWS:
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in _COMPRESSED_COLUMNS:
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return ()


def size_bytes(tensor: torch.Tensor) -> int:
    """Returns the bytes of a tensor's elements; of a sparse tensor, the stored ones and indices."""
    return sum(part.numel() * part.element_size() for part in parts_of(tensor))


def _packed(packed: PackedSequence) -> Iterator[tuple[str, torch.Tensor]]:
    for key in _PACKED:
        value = getattr(packed, key)
        if value is not None:
            yield key, value


def _fields(record: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(record):
        if hasattr(record, field.name):
            yield field.name, getattr(record, field.name)
