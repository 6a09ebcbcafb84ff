"""Bytes that one operator reads and writes, as its kernel would with nothing in the cache.

In: an operator, its arguments and its result. Out: bytes read, bytes written. Convention: a view
moves nothing; a tensor is read once, even if it is several arguments; of a table that is indexed,
only the selected part is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

# Their first argument is written without being read.
_OVERWRITING = ("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "random_")
# Their first tensor is a table, of which the result is a part.
_TAKING = ("embedding", "index", "index_select", "gather", "take")
# Memory without values, and queries without a kernel.
_NOTHING_MOVED = (
    "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided",
    "set_", "_fused_sdp_choice", "record_stream",
)  # fmt: skip
# Collectives: their bytes go over links, whose time is known apart.
_MESSAGES = "_c10d_functional::"


def moved_bytes(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> tuple[int, int]:
    """Returns bytes read and bytes written by one call of the operator overload `func`."""
    name = func._schema.name.rpartition("::")[2].removeprefix("_foreach_")
    if name in _NOTHING_MOVED or torch.Tag.inplace_view in func.tags:
        return 0, 0
    if func._schema.name.startswith(_MESSAGES) or _is_view(func):
        return 0, 0
    inputs = _unique(tensors_of((args, kwargs)))
    outputs = list(tensors_of(out))
    changed, results = _changed(func, args, kwargs)
    known = {_storage(tensor) for tensor in inputs}
    written = _unique([*changed, *(item for item in outputs if _storage(item) not in known)])
    if inputs and outputs and not written:
        return 0, 0  # a view
    written_bytes = _sum_bytes(written)
    unread = {id(tensor) for tensor in results}
    if name in _OVERWRITING or name.startswith("new_") or name.endswith("_like"):
        unread |= {id(tensor) for tensor in tensors_of(args[:1])}
    # the weights of a recurrent layer are views of it
    unread |= {id(tensor) for tensor in tensors_of(_argument("weight_buf", func, args, kwargs))}
    read_bytes = _sum_bytes(tensor for tensor in inputs if id(tensor) not in unread)
    if name in _TAKING and inputs:
        read_bytes -= max(0, occupied_bytes(inputs[0]) - written_bytes)
    return read_bytes, written_bytes


def occupied_bytes(tensor: torch.Tensor) -> int:
    """Returns the bytes that a tensor's elements occupy; an expanded one repeats elements."""
    elements = tensor.numel()
    if elements and tensor.layout is torch.strided:
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        elements = min(elements, 1 + sum((size - 1) * stride for size, stride in steps))
    return elements * tensor.element_size()


def tensors_of(tree: Any) -> Iterator[torch.Tensor]:
    """Yields tensors among the arguments or results of an operator."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors_of(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors_of(item)


def _is_view(func: Any) -> bool:
    """Returns whether all results alias an argument that is not written.

    A tensor that wraps another, as the result of a collective, has no storage that would show it.
    """
    aliases = [one.alias_info for one in func._schema.returns]
    return bool(aliases) and all(one is not None and not one.is_write for one in aliases)


def _changed(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Returns the arguments that are written, and those of them that only take a result (out=)."""
    changed: list[torch.Tensor] = []
    results: list[torch.Tensor] = []
    if not func._schema.is_mutable:
        return changed, results
    for argument in func._schema.arguments:
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        if argument.name == "grads" and kwargs.get("grad_scale") is None:
            continue  # a fused optimizer writes to gradients where it has to unscale them
        given = _argument(argument.name, func, args, kwargs)
        changed += tensors_of(given)
        if argument.is_out:
            results += tensors_of(given)
    return changed, results


def _argument(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns the argument of that name; None without one."""
    names = [argument.name for argument in func._schema.arguments]
    if name not in names:
        return None
    position = names.index(name)
    return args[position] if position < len(args) else kwargs.get(name)


def _unique(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _sum_bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(occupied_bytes(tensor) for tensor in tensors)


def _storage(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except NotImplementedError:  # sparse and other tensors without one storage
        return id(tensor)
