"""Steps the shards of DTensors as plain tensors, for an optimizer whose kernels take no DTensors.

In: a function that makes an optimizer, parameters. Out: the optimizer over this rank's shards.
Convention: the shards are views, so that no memory is taken; their gradients are there during a
step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from planner.worker.ranks.dtensors import is_divided

WORDS = (
    "it takes no DTensors, so it steps the shards as plain tensors: "
    "[nn.Parameter(p.detach().to_local()) for p in model.parameters()]"
)


def over_shards(
    make: Callable[[list[nn.Parameter]], Any], parameters: Sequence[nn.Parameter]
) -> Any:
    """Returns the optimizer over the shards of `parameters`, which are DTensors or plain."""
    pairs = [(one, _shard_of(one)) for one in parameters]
    optimizer = make([shard for _, shard in pairs])

    def before(*_: Any) -> None:
        for whole, shard in pairs:
            if whole is not shard:
                shard.data = _local(whole.detach())
                is_empty = whole.grad is None or not shard.numel()
                shard.grad = None if is_empty else _local(whole.grad)

    def after(*_: Any) -> None:
        for whole, shard in pairs:
            if whole is not shard:
                shard.grad = None

    def zero_grad(set_to_none: bool = True) -> None:
        for whole, _ in pairs:
            if set_to_none:
                whole.grad = None
            elif whole.grad is not None:
                whole.grad.zero_()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    optimizer.zero_grad = zero_grad
    return optimizer


def _shard_of(parameter: nn.Parameter) -> nn.Parameter:
    if not is_divided(parameter):
        return parameter
    return nn.Parameter(_local(parameter.detach()), requires_grad=parameter.requires_grad)


def _local(tensor: Any) -> torch.Tensor:
    found: torch.Tensor = tensor.to_local() if is_divided(tensor) else tensor
    return found
