"""Bytes that one operator reads and writes, as its kernel would with nothing in the cache.

In: an operator, its arguments and its result. Out: bytes read, bytes written. Convention: a view
moves nothing; a tensor is read once however often it is an argument; of a tensor that is looked up
by indices only what is taken out is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

# Their first argument is written without being read.
_OVERWRITING = ("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "random_")
# Their first tensor is a table, of which the result is a part.
_TAKING = ("embedding", "index", "index_select", "gather", "take")
# Memory without values, and questions that no kernel answers.
_NOTHING_MOVED = (
    "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided",
    "set_", "_fused_sdp_choice",
)  # fmt: skip


def moved_bytes(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> tuple[int, int]:
    """Bytes read and bytes written by one call of the operator overload `func`."""
    name = func._schema.name.rpartition("::")[2]
    if name in _NOTHING_MOVED:
        return 0, 0
    inputs = list({id(tensor): tensor for tensor in tensors_of((args, kwargs))}.values())
    outputs = list(tensors_of(out))
    known = {_storage(tensor) for tensor in inputs}
    mutable = func._schema.is_mutable
    written = [tensor for tensor in outputs if mutable or _storage(tensor) not in known]
    if inputs and outputs and not written:
        return 0, 0  # a view
    written_bytes = sum(occupied_bytes(tensor) for tensor in written)
    unread = name in _OVERWRITING or name.startswith("new_") or name.endswith("_like")
    read = inputs[1:] if unread else inputs
    read_bytes = sum(occupied_bytes(tensor) for tensor in read)
    if name in _TAKING and inputs:
        read_bytes -= max(0, occupied_bytes(inputs[0]) - written_bytes)
    return read_bytes, written_bytes


def is_view(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> bool:
    """Whether an operator only looks at memory that is there: nothing is computed."""
    return moved_bytes(func, args, kwargs, out) == (0, 0)


def occupied_bytes(tensor: torch.Tensor) -> int:
    """Bytes behind the elements of a tensor; an expanded one has fewer than elements."""
    size_bytes = tensor.numel() * tensor.element_size()
    try:
        return min(size_bytes, tensor.untyped_storage().nbytes())
    except NotImplementedError:  # sparse and other tensors without one storage
        return size_bytes


def tensors_of(tree: Any) -> Iterator[torch.Tensor]:
    """Tensors among the arguments or results of an operator."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors_of(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors_of(item)


def _storage(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except NotImplementedError:
        return id(tensor)
