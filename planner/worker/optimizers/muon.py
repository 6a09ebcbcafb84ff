"""Muon for the matrices of hidden layers and AdamW for the rest, as one optimizer.

In: the model on the card. Out: OptimizerPair. torch.optim.Muon takes only matrices, and is meant
for those of hidden layers: https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from planner.config.target import Scalar
from planner.errors import UsageError

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


class OptimizerPair:
    """Optimizers that are stepped in order, with the interface that a loop and a GradScaler use."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers

    @property
    def name(self) -> str:
        """The names of their classes."""
        return " + ".join(type(optimizer).__name__ for optimizer in self.optimizers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self) -> dict[Any, Any]:
        """The state of all, by parameter; each parameter belongs to one of them."""
        return {key: kept for one in self.optimizers for key, kept in one.state.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all optimizers."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Steps each optimizer."""
        for optimizer in self.optimizers:
            optimizer.step()


def muon_and_adamw(model: nn.Module, arguments: Mapping[str, Scalar]) -> tuple[OptimizerPair, str]:
    """Returns Muon and AdamW over the trainable parameters, and a sentence on who trains which.

    `arguments` are for Muon.

    Raises:
        UsageError: the model has no matrix in a hidden layer.
    """
    head = _head(model)
    others = {id(parameter) for parameter in _of_embeddings(model)}
    if head is not None:
        others.add(id(head[1]))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hidden = [one for one in trained if one.ndim == 2 and id(one) not in others]
    rest = [one for one in trained if one.ndim != 2 or id(one) in others]
    if not hidden:
        raise UsageError(
            "optimizer muon steps the 2-D weights of hidden layers, and this model trains none "
            "(embeddings, the last linear layer and weights of convolutions do not count); take "
            "another one, like adamw"
        )
    kinds: Any = torch.optim  # Muon is younger than the oldest torch
    optimizers = [kinds.Muon(hidden, **arguments)]
    note = f"optimizer muon: {len(hidden)} 2-D weights of hidden layers by torch.optim.Muon"
    if rest:
        optimizers.append(torch.optim.AdamW(rest))
        last = "" if head is None else f"the last linear layer {head[0]}, "
        note += (
            f", the other {len(rest)} tensors (embeddings, {last}what is not 2-D) by "
            "torch.optim.AdamW"
        )
    return OptimizerPair(*optimizers), note


def _of_embeddings(model: nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        if isinstance(module, _EMBEDDINGS):
            yield module.weight


def _head(model: nn.Module) -> tuple[str, torch.Tensor] | None:
    """Returns name and weight of the last linear layer; None if it is tied to an embedding."""
    linear = [(name, one) for name, one in model.named_modules() if isinstance(one, nn.Linear)]
    if not linear:
        return None
    name, layer = linear[-1]
    tied = {id(parameter) for parameter in _of_embeddings(model)}
    return None if id(layer.weight) in tied else (name, layer.weight)
