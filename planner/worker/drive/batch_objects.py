"""Batches that are objects of a library or of the user: any object with a `.to(device)`.

In: a batch. Out: its tensors with their paths, or the batch elsewhere. Convention: an object's own
`.to` moves it, as in the user's loop; tuples, lists and mappings without one are walked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from planner.worker.model.tensors import is_record, map_tensors, tensors_in

Bring = Callable[[torch.Tensor], torch.Tensor]
_DEPTH = 4  # of objects within an object
_MOVES = {torch.Tensor.to, torch.Tensor.cuda}
_PLAIN = (str, bytes, int, float, complex, type(None), nn.Module)


def is_movable(tree: Any) -> bool:
    """Returns whether `tree` has a `.to` of its own, and is no tensor and no plain container."""
    if isinstance(tree, (torch.Tensor, PackedSequence, type, *_PLAIN)):
        return False
    return callable(getattr(tree, "to", None))


def tensors_of_batch(tree: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yields every tensor of a batch with its path, also those within objects that have a `.to`."""
    if is_movable(tree):
        yield from _of_object(tree, path, _DEPTH, set())
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tensors_of_batch(value, f"{path}[{key!r}]")
    elif isinstance(tree, (tuple, list)) and not isinstance(tree, PackedSequence):
        for index, value in enumerate(tree):
            yield from tensors_of_batch(value, f"{path}[{index}]")
    else:
        yield from tensors_in(tree, path)


def moved(tree: Any, device: torch.device, bring: Bring) -> Any:
    """Returns the batch with every tensor brought by `bring`; objects use their own `.to`.

    `.to` is called on a copy of an object, because many change themselves.
    """
    if is_movable(tree):
        with _Bringing(bring):
            return _copy(tree).to(device)
    if isinstance(tree, Mapping):
        return {key: moved(value, device, bring) for key, value in tree.items()}
    if isinstance(tree, PackedSequence):
        return map_tensors(tree, bring)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(moved(value, device, bring) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(moved(value, device, bring) for value in tree)
    return map_tensors(tree, bring)


def samples_in(tree: Any) -> int | None:
    """Returns the number of samples that an object reports: `num_graphs`, or its batch size."""
    if not is_movable(tree):
        return None
    for name in ("num_graphs", "batch_size"):
        with suppress(Exception):  # a property of the user's
            found = getattr(tree, name, None)
            if isinstance(found, torch.Size) and found:
                return int(found[0])
            if isinstance(found, int) and not isinstance(found, bool):
                return found
    return None


class _Bringing(TorchFunctionMode):
    """Replaces a tensor's `.to(device)` by `bring`, also for tensors without values."""

    def __init__(self, bring: Bring) -> None:
        super().__init__()
        self._bring = bring

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch for every function in the block."""
        kwargs = kwargs or {}
        if func in _MOVES and _names_device(func, args, kwargs):
            return self._bring(args[0])
        return func(*args, **kwargs)


def _names_device(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether the call goes to a device, and not only to another dtype."""
    if func is torch.Tensor.cuda or kwargs.get("device") is not None:
        return True
    return len(args) > 1 and isinstance(args[1], (str, int, torch.device))


def _copy(tree: Any) -> Any:
    """Returns a copy that shares the tensors."""
    memo: dict[int, Any] = {id(tensor): tensor for _, tensor in tensors_of_batch(tree)}
    try:
        return copy.deepcopy(tree, memo)
    except Exception:
        with suppress(Exception):
            return copy.copy(tree)
        return tree


def _of_object(
    tree: Any, path: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors of an object, each once: by its keys, or by name if it has none."""
    if isinstance(tree, torch.Tensor):
        if id(tree) not in seen:
            seen.add(id(tree))
            yield path, tree
        return
    if isinstance(tree, (type, *_PLAIN)) or depth < 0 or id(tree) in seen:
        return
    seen.add(id(tree))
    if isinstance(tree, PackedSequence):
        yield from tensors_in(tree, path)
        return
    for name, value in _items(tree):
        within = depth - (not isinstance(value, (Mapping, tuple, list)))
        yield from _of_object(value, f"{path}{name}", within, seen)


def _items(tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, (tuple, list)):
        yield from ((f"[{index}]", value) for index, value in enumerate(tree))
        return
    if isinstance(tree, Mapping):
        yield from ((f"[{key!r}]", value) for key, value in tree.items())
        return
    keys = getattr(tree, "keys", None)
    if keys is not None and hasattr(tree, "__getitem__"):
        with suppress(Exception):  # else by its attributes
            listed = list(keys() if callable(keys) else keys)
            yield from [(f"[{key!r}]", tree[key]) for key in listed]
            return
    if is_record(tree) or hasattr(tree, "__dict__"):
        own = getattr(tree, "__dict__", None) or {}
        names = own if own else getattr(tree, "__dataclass_fields__", ())
        yield from ((f".{name}", getattr(tree, name, None)) for name in list(names))
