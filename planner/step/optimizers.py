"""The optimizer: the user's, the one asked for by name, or AdamW.

In: ModelSource, StepConfig, the model on the card. Out: Chosen. Convention: an optimizer asked
for by name comes before build_optimizer; learning rates and foreach are torch's defaults.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from planner.errors import ModelError, UsageError
from planner.step.optimizer_tree import names_in, optimizers_in, strangers_in
from planner.step.source import ModelSource, optimizer_of
from planner.workload import OptimizerName, StepConfig

# class and the arguments that torch has no default for, or that the name stands for
_NAMED: dict[OptimizerName, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    OptimizerName.SGD: (torch.optim.SGD, {"lr": 0.01}),
    OptimizerName.SGD_MOMENTUM: (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    OptimizerName.ADAM: (torch.optim.Adam, {}),
    OptimizerName.ADAMW: (torch.optim.AdamW, {}),
    OptimizerName.ADAFACTOR: (torch.optim.Adafactor, {}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What steps: None and "none" when nothing does. Several are as build_optimizer gave them."""

    optimizer: Any | None
    name: str
    assumptions: tuple[str, ...] = ()


def choose(source: ModelSource, config: StepConfig, model: nn.Module) -> Chosen:
    """The optimizer over all of the model's parameters.

    Raises:
        UsageError: an argument that the optimizer does not take, or a value it refuses.
        ModelError: nothing is trainable, or build_optimizer returned something else.
    """
    parameters = list(model.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise ModelError(
            "the model has no trainable parameter; leave requires_grad on where it should train, "
            "or use --mode infer"
        )
    if config.optimizer is None and source.build_optimizer is not None:
        if config.optimizer_arguments:
            keys = ", ".join(key for key, _ in config.optimizer_arguments)
            raise UsageError(
                f"optimizer arguments ({keys}) need an optimizer by name; "
                "build_optimizer in the model file takes only the parameters"
            )
        optimizer = _users(source.build_optimizer, parameters, model)
        return Chosen(optimizer=optimizer, name=names_in(optimizer))
    notes: tuple[str, ...] = ()
    if config.optimizer is None:
        notes = ("optimizer: AdamW (none was given)",)
    elif source.build_optimizer is not None:
        notes = (f"optimizer {config.optimizer.value} replaces build_optimizer",)
    return _by_name(config.optimizer or OptimizerName.ADAMW, config, parameters, notes)


def _by_name(
    name: OptimizerName, config: StepConfig, parameters: list[nn.Parameter], notes: tuple[str, ...]
) -> Chosen:
    given: dict[str, Any] = dict(config.optimizer_arguments)
    if name is OptimizerName.NONE:
        if given:
            raise UsageError("optimizer none takes no arguments")
        return Chosen(optimizer=None, name=name.value, assumptions=notes)
    kind, defaults = _NAMED[name]
    known = [key for key in inspect.signature(kind).parameters if key != "params"]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise UsageError(
            f"optimizer {name.value} has no argument {unknown[0]!r}; it has {', '.join(known)}"
        )
    try:
        optimizer = kind(parameters, **{**defaults, **given})
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or not given:
            raise
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise UsageError(f"optimizer {name.value} refuses {shown}: {error}") from None
    return Chosen(optimizer=optimizer, name=type(optimizer).__name__, assumptions=notes)


def _users(build: Callable[..., Any], parameters: list[nn.Parameter], model: nn.Module) -> Any:
    given = optimizer_of(build, parameters, model)
    check_optimizers(given, "build_optimizer")
    return given


def check_optimizers(given: Any, origin: str) -> None:
    """Refuse what holds no optimizer, or holds something that cannot be stepped.

    Raises:
        ModelError: says what there was in its place.
    """
    strangers = strangers_in(given)
    if strangers or not optimizers_in(given):
        found = f"a {type(given).__name__}"
        if strangers and strangers[0] is not given:
            found += f" with a {type(strangers[0]).__name__} in it,"
        raise ModelError(
            f"{origin} returned {found} without step() and zero_grad(); return an optimizer, like "
            "torch.optim.AdamW(parameters), or several in a tuple, list or dict"
        )
