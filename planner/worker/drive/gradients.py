"""Trainable parameters that a step has left without a gradient.

In: the model after its first step. Out: a warning with their share. Convention: a parameter without
a gradient has no optimizer state either; a run that trains it takes more memory.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from planner.units import format_count, format_percent

_SHOWN = 3


def missing_gradients(model: nn.Module, freed: Collection[int] = ()) -> tuple[str, ...]:
    """Returns one sentence, or none if every trainable parameter has a gradient.

    `freed` are the ids of parameters whose gradients have been freed after use.
    """
    trainable = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    without = [(name, one) for name, one in trainable if one.grad is None and id(one) not in freed]
    if not without:
        return ()
    missing, whole = (sum(one.numel() for _, one in part) for part in (without, trainable))
    names = ", ".join(name for name, _ in without[:_SHOWN])
    more = f" and {len(without) - _SHOWN} more" if len(without) > _SHOWN else ""
    return (
        f"{format_percent(missing, whole)} of the trainable parameters "
        f"({format_count(missing)} of {format_count(whole)}) got no gradient in step 1: {names}"
        f"{more}; if your run trains them, it takes more memory",
    )
