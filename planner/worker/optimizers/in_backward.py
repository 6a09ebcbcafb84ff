"""Optimizers that step in backward: one for each parameter, in a hook of its gradient.

In: optimizers of one parameter each. Out: a context in which each steps as soon as its gradient is
complete, and frees it. Convention: as in
https://docs.pytorch.org/tutorials/intermediate/optimizer_step_in_backward_tutorial.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from planner.errors import UsageError
from planner.wire.trace import Phase
from planner.worker.optimizers.tree import names_in, optimizers_in
from planner.worker.record.watch import Watch
from planner.worker.target.source import optimizer_of, takes_model


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Returns the parameters that get gradients, each once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def users_optimizers(
    build: Callable[..., Any], parameters: Iterable[nn.Parameter], model: nn.Module
) -> tuple[Any, ...]:
    """Calls build_optimizer for each parameter, and returns all results.

    Raises:
        UsageError: build_optimizer sorts the parameters of a model itself.
    """
    if takes_model(build):
        raise UsageError(
            "the optimizer was to step in backward (--optimizer-in-backward), with one optimizer "
            "for each parameter, and build_optimizer takes the whole model: let it take parameters "
            "alone, or name an optimizer (--optimizer)"
        )
    return tuple(optimizer_of(build, [parameter], model) for parameter in parameters)


def words(optimizers: tuple[Any, ...]) -> str:
    """Returns a sentence for the report."""
    kinds = " or ".join(dict.fromkeys(names_in(one) for one in optimizers))
    number = len(optimizers)
    return (
        f"optimizer in backward: each of {number} parameters has its own {kinds}, which steps as "
        "soon as its gradient is there and frees it (a hook of each parameter)"
    )


@contextmanager
def stepping_in_backward(optimizer: Any, watch: Watch, stepped: set[int]) -> Iterator[None]:
    """Lets each optimizer step in backward within the context.

    `stepped` gets the id of each parameter that had a gradient.
    """
    handles = [
        parameter.register_post_accumulate_grad_hook(_hook(one, watch, stepped))
        for one in optimizers_in(optimizer)
        for group in one.param_groups
        for parameter in group["params"]
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(optimizer: Any, watch: Watch, stepped: set[int]) -> Callable[[torch.Tensor], None]:
    def step(parameter: torch.Tensor) -> None:
        stepped.add(id(parameter))
        watch.enter(Phase.OPTIMIZER_STEP)
        optimizer.step()
        optimizer.zero_grad()
        watch.enter(Phase.BACKWARD)

    return step
