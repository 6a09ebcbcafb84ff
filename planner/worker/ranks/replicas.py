"""Ranks that each hold the whole model: DistributedDataParallel, and ZeRO-1 over it.

In: a model on the card, DdpOptions; an optimizer over its parameters. Out: the wrapped model; the
optimizer whose state is dealt out.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from torch import nn

from planner.config.parallel import DdpOptions
from planner.errors import ModelError, UsageError
from planner.worker.optimizers.tree import optimizers_in


def replicated(model: nn.Module, group: Any, options: DdpOptions) -> nn.Module:
    """Returns `model` in DistributedDataParallel.

    Raises:
        ModelError: nothing is trainable.
    """
    from torch.nn.parallel import DistributedDataParallel

    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(
            "the model has no trainable parameter, and DDP has no gradients to reduce; leave "
            "requires_grad on where it should train"
        )
    given: dict[str, Any] = {}
    if options.bucket_cap_mb is not None:
        given["bucket_cap_mb"] = options.bucket_cap_mb
    return DistributedDataParallel(
        model,
        process_group=group,
        gradient_as_bucket_view=options.gradient_as_bucket_view,
        static_graph=options.static_graph,
        find_unused_parameters=options.find_unused_parameters,
        **given,
    )


def dealt_out(optimizer: Any, group: Any) -> Any:
    """Returns ZeroRedundancyOptimizer over the parameters of `optimizer`, with its arguments.

    Raises:
        UsageError: there are several optimizers, or none.
    """
    from torch.distributed.optim import ZeroRedundancyOptimizer

    found = optimizers_in(optimizer)
    if len(found) != 1:
        raise UsageError(
            f"zero1 (--parallel) deals out the state of one optimizer, and the step has "
            f"{len(found)}: take ddp or fsdp"
        )
    given = found[0]
    taken = signature(type(given)).parameters
    defaults = {name: value for name, value in given.defaults.items() if name in taken}
    groups = [
        {name: value for name, value in one.items() if name in ("params", *defaults)}
        for one in given.param_groups
    ]
    return ZeroRedundancyOptimizer(
        groups, optimizer_class=type(given), process_group=group, **defaults
    )


def state_elements(optimizer: Any) -> tuple[int, ...]:
    """Returns the elements of the parameters that each rank of a ZeRO-1 optimizer steps."""
    return tuple(
        sum(parameter.numel() for group in groups for parameter in group["params"])
        for groups in optimizer._partition_parameters()
    )
