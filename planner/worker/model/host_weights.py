"""Weights that a pipeline keeps in the RAM of the host, and moves to the card while they are used.

In: the moves of a library (Module.to, accelerate's hooks). Out: the same requests to the card's
allocator, and the bytes of the copies. Convention: a weight on the host has an address and no
bytes that were ever written; no pass of values learns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from planner.worker.model import meta, stand_ins
from planner.worker.model.layout import empty_as

_HOST = torch.device("cpu")


@dataclass(slots=True, kw_only=True)
class WeightCopies:
    """Bytes that have been copied between host and card since the last reset.

    `on_moved(module, name)` is called after a weight of a module has moved, by its name; None: all
    weights of the module and of those in it.
    """

    to_card_bytes: int = 0
    to_host_bytes: int = 0
    on_moved: Callable[[nn.Module, str | None], None] = lambda module, name: None

    def reset(self) -> None:
        """Counts from here on."""
        self.to_card_bytes = self.to_host_bytes = 0


def keep_on_host(model: nn.Module) -> int:
    """Gives each weight without storage memory of the host that nobody writes; returns its bytes.

    The kernel gives memory to a page when it is first written.
    """
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.device.type == "meta":
                meta.become(parameter, stand_ins.on_host(parameter.detach()))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.device.type == "meta":
                module._buffers[name] = stand_ins.on_host(buffer)
    held = {*model.parameters(), *model.buffers()}
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


@contextmanager
def moved_without_bytes(copies: WeightCopies) -> Iterator[None]:
    """Within it, modules go to host and card and back as by `.to(device)`, without their bytes."""
    usual = nn.Module.to
    with _accelerate_counts(copies):
        nn.Module.to = _moving(usual, copies)  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.to = usual  # type: ignore[method-assign]


def _moving(usual: Callable[..., Any], copies: WeightCopies) -> Callable[..., Any]:
    def to(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        parse: Any = torch._C._nn._parse_to
        device, dtype, _, memory_format = parse(*args, **kwargs)
        if device is None or dtype is not None or memory_format is not None:
            result = usual(module, *args, **kwargs)
            copies.on_moved(module, None)
            return result
        apply: Any = module._apply
        result = apply(lambda tensor: _moved(tensor, device, copies))
        copies.on_moved(module, None)
        return result

    return to


def _moved(tensor: torch.Tensor, device: torch.device, copies: WeightCopies) -> torch.Tensor:
    kinds = (tensor.device.type, device.type)
    if stand_ins.moves_itself(tensor) or kinds not in (("cpu", "cuda"), ("cuda", "cpu")):
        return tensor.to(device)
    size_bytes = tensor.numel() * tensor.element_size()
    if device.type == "cuda":
        copies.to_card_bytes += size_bytes
    else:
        copies.to_host_bytes += size_bytes
    with _unseen():
        return empty_as(tensor, device if device.type == "cuda" else _HOST)


@contextmanager
def _accelerate_counts(copies: WeightCopies) -> Iterator[None]:
    """Counts the weights that accelerate's hooks bring to the card, layer by layer."""
    try:
        from accelerate import hooks
    except ImportError:
        yield
        return
    usual = hooks.set_module_tensor_to_device

    def counted(
        module: nn.Module, tensor_name: str, device: Any, *args: Any, **kwargs: Any
    ) -> None:
        value = kwargs.get("value", args[0] if args else None)
        if isinstance(value, torch.Tensor) and torch.device(device).type == "cuda":
            copies.to_card_bytes += value.numel() * value.element_size()
        with _unseen():
            usual(module, tensor_name, device, *args, **kwargs)
        copies.on_moved(module, tensor_name)

    hooks.set_module_tensor_to_device = counted
    try:
        yield
    finally:
        hooks.set_module_tensor_to_device = usual


def _unseen() -> Any:
    hidden: Any = torch._C._DisableTorchDispatch
    return hidden()
