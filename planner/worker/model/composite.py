"""Tensors made of other tensors: quantised values with their scales.

In: a tensor. Out: the tensors with memory that it is made of, and those in its attributes. Two
ways are in use: a wrapper (torchao) has no memory and holds tensors; a parameter (bitsandbytes)
holds packed values, and its attributes hold an object with the scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

_DEPTH = 3  # of objects below a parameter: quant_state.state2.absmax


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Returns whether `tensor` holds other tensors and no memory of its own."""
    return bool(is_traceable_wrapper_subclass(tensor))


def parts(tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors with its memory and their paths in it; a plain tensor itself with ""."""
    if not is_wrapper(tensor):
        yield "", tensor
        return
    wrapper: Any = tensor
    for name in wrapper.__tensor_flatten__()[0]:
        inner = getattr(wrapper, name)
        if not isinstance(inner, torch.Tensor):
            continue  # a DTensor names its mesh too
        for path, part in parts(inner):
            yield f".{name}{path}", part


def kept_by(parameter: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors in the attributes of a parameter, and in plain objects there."""
    yield from _tensors_of(vars(parameter), "", _DEPTH)


def _tensors_of(
    attributes: dict[str, Any], path: str, depth: int
) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in attributes.items():
        if isinstance(value, torch.Tensor):
            yield f"{path}.{name}", value
        elif depth > 1 and _is_plain_object(value):
            yield from _tensors_of(vars(value), f"{path}.{name}", depth - 1)


def _is_plain_object(value: object) -> bool:
    # Modules, classes and functions own their tensors themselves.
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (nn.Module, type))
        and not callable(value)
    )
