"""The holders of memory at a moment: addresses of the storages of live tensors, with their names.

In: the model, optimizer, scaler, batch. Out: Holdings. Convention: nothing is kept alive and no
storage is touched; a tensor without memory on the card (meta, empty, exotic) is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from planner.wire.trace import TensorCategory
from planner.worker.drive.batch_objects import tensors_of_batch
from planner.worker.model.compiled import plain_path
from planner.worker.model.composite import kept_by, parts
from planner.worker.model.tensors import parts_of, tensors_in
from planner.worker.optimizers.tree import optimizers_in

_CARD = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The storage at `address` belongs to `tensor` of `module`, as a `category`."""

    address: int
    category: TensorCategory
    module: str = ""
    tensor: str = ""


class Holders:
    """Names of a model's tensors; queried many times during a run."""

    def __init__(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        self._parameters: list[tuple[nn.Parameter, str, str]] = []
        self._modules: list[tuple[str, nn.Module]] = []
        self._paths: dict[int, str] = {}
        self._owners: dict[int, tuple[str, str]] = {}
        self.add_model(model)
        self._optimizers: list[Any] = []
        self._scaler = scaler
        self._others: list[Any] = []  # parameters that an optimizer has and the model has not
        for one in optimizers_in(optimizer):
            self.add_optimizer(one)

    def add_model(self, model: nn.Module, path: str = "") -> None:
        """Adds a model whose modules are named below `path`."""
        for name, parameter in model.named_parameters(prefix=path):
            module, tensor = _split(plain_path(name))
            self._parameters.append((parameter, module, tensor))
            self._owners[id(parameter)] = module, tensor
        for name, owner in model.named_modules(prefix=path):
            self._modules.append((plain_path(name), owner))
            self._paths[id(owner)] = plain_path(name)

    def add_optimizer(self, optimizer: Any) -> None:
        """Adds an optimizer, and the tensors that it trains outside the model."""
        if any(optimizer is known for known in self._optimizers):
            return
        self._optimizers.append(optimizer)
        known = {*self._owners, *map(id, self._others)}
        for group in getattr(optimizer, "param_groups", ()):
            for parameter in group.get("params", ()):
                if isinstance(parameter, torch.Tensor) and id(parameter) not in known:
                    self._others.append(parameter)

    def weights(self) -> Iterator[Holding]:
        """Yields parameters, with the scales of those that are quantised, and buffers."""
        for parameter, module, tensor in self._parameters:
            yield from _holding(parameter, TensorCategory.PARAMETER, module, tensor)
            for path, kept in kept_by(parameter):
                yield from _holding(kept, TensorCategory.PARAMETER, module, f"{tensor}{path}")
        for parameter in self._others:
            yield from _holding(parameter, TensorCategory.PARAMETER, "", "")
        for module, owner in self._modules:
            for tensor, buffer in owner._buffers.items():
                yield from _holding(buffer, TensorCategory.BUFFER, module, tensor)

    def moved(self, module: nn.Module, name: str | None) -> Iterator[Holding]:
        """Yields what has come to the card anew: a weight of a module, or (None) any weight."""
        if name is None:
            yield from self.weights()
            return
        path = self._paths.get(id(module))
        if path is not None and name in module._parameters:
            yield from _holding(module._parameters[name], TensorCategory.PARAMETER, path, name)
        elif path is not None:
            yield from _holding(module._buffers.get(name), TensorCategory.BUFFER, path, name)

    def attributes(self) -> Iterator[Holding]:
        """Yields tensors that the model's code keeps without registering them."""
        for module, owner in self._modules:
            for name, value in vars(owner).items():
                if isinstance(value, torch.Tensor):
                    yield from _holding(value, TensorCategory.BUFFER, module, name)

    def gradients(self) -> Iterator[Holding]:
        """Yields the gradients of the parameters."""
        for parameter, module, tensor in self._parameters:
            yield from _holding(parameter.grad, TensorCategory.GRADIENT, module, tensor)
        for parameter in self._others:
            yield from _holding(parameter.grad, TensorCategory.GRADIENT, "", "")

    def optimizer_state(self) -> Iterator[Holding]:
        """Yields optimizers' state, their tensor options, and the GradScaler's tensors."""
        for optimizer in self._optimizers:
            state = getattr(optimizer, "state", None)
            for key, kept in state.items() if isinstance(state, Mapping) else ():
                module, tensor = self._owners.get(id(key), ("", ""))
                yield from _state(kept, module, tensor)
            for group in getattr(optimizer, "param_groups", ()):
                yield from _state({k: v for k, v in group.items() if k != "params"}, "", "")
        if self._scaler is not None:
            yield from _state(vars(self._scaler), "", "")

    @staticmethod
    def inputs(batch: Any) -> Iterator[Holding]:
        """Yields the tensors of a batch."""
        for path, tensor in tensors_of_batch(batch):
            yield from _holding(tensor, TensorCategory.INPUT, "", f"batch{path}")


def _state(kept: Any, module: str, tensor: str) -> Iterator[Holding]:
    for key, value in kept.items() if isinstance(kept, Mapping) else (("", kept),):
        for path, found in tensors_in(value):
            name = f"{tensor}.{key}{path}".strip(".")
            yield from _holding(found, TensorCategory.OPTIMIZER_STATE, module, name)


def _holding(
    tensor: torch.Tensor | None, category: TensorCategory, module: str, name: str
) -> Iterator[Holding]:
    if tensor is None or tensor.device.type != _CARD:
        return
    for path, whole in parts(tensor):
        for part in parts_of(whole):
            try:
                address = part.data_ptr() - int(part.storage_offset()) * part.element_size()
            except (RuntimeError, NotImplementedError):  # quantized by torch: no one storage
                continue
            if address > 0:
                yield Holding(
                    address=address, category=category, module=module, tensor=f"{name}{path}"
                )


def _split(name: str) -> tuple[str, str]:
    module, _, tensor = name.rpartition(".")
    return module, tensor
