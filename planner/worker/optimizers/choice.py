"""The optimizer: the user's, the one requested by name, or AdamW.

In: ModelSource, StepConfig, the model on the card. Out: Chosen. Convention: an optimizer requested
by name comes before build_optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from planner.config.step import OptimizerName, StepConfig
from planner.errors import ModelError, UsageError
from planner.worker.optimizers import in_backward
from planner.worker.optimizers.named import Named, named
from planner.worker.optimizers.offloaded import HostOptimizer
from planner.worker.optimizers.tree import names_in, optimizers_in, strangers_in
from planner.worker.target.source import ModelSource, optimizer_of, takes_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The optimizers: None and "none" without any. Several keep build_optimizer's nesting."""

    optimizer: Any | None
    name: str
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose(
    source: ModelSource, config: StepConfig, model: nn.Module, *, real_values: bool = False
) -> Chosen:
    """Returns the optimizer over all of the model's parameters.

    With `real_values`, one that is offloaded keeps its bytes on the host.

    Raises:
        UsageError: an argument that the optimizer does not take, or a value it refuses; an
            optimizer whose package is not installed.
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
        if config.optimizer_in_backward:
            return _users_in_backward(source.build_optimizer, model)
        if config.offloads_optimizer:
            return _users_offloaded(source.build_optimizer, model, real_values)
        optimizer = _users(source.build_optimizer, parameters, model)
        return Chosen(optimizer=optimizer, name=names_in(optimizer))
    notes: tuple[str, ...] = ()
    if config.optimizer is None:
        notes = ("optimizer: AdamW (none was given)",)
    elif source.build_optimizer is not None:
        notes = (f"optimizer {config.optimizer.value} replaces build_optimizer",)
    return _by_name(config.optimizer or OptimizerName.ADAMW, config, model, notes, real_values)


def _by_name(
    name: OptimizerName,
    config: StepConfig,
    model: nn.Module,
    notes: tuple[str, ...],
    real_values: bool,
) -> Chosen:
    given: dict[str, Any] = dict(config.optimizer_arguments)
    if name is OptimizerName.NONE:
        if given:
            raise UsageError("optimizer none takes no arguments")
        return Chosen(optimizer=None, name=name.value, assumptions=notes)
    if config.optimizer_in_backward:
        return _named_in_backward(name, given, model, notes)
    if config.offloads_optimizer:
        return _named_offloaded(name, given, model, notes, real_values)
    made = named(name, model, given)
    return Chosen(
        optimizer=made.optimizer,
        name=made.name,
        assumptions=(*notes, *made.assumptions),
        notes=made.notes,
    )


def _named_in_backward(
    name: OptimizerName, given: dict[str, Any], model: nn.Module, notes: tuple[str, ...]
) -> Chosen:
    made = [named(name, model, given, [one]) for one in in_backward.trainable(model)]
    optimizers = tuple(one.optimizer for one in made)
    return Chosen(
        optimizer=optimizers,
        name=made[0].name,
        assumptions=(*notes, *made[0].assumptions, in_backward.words(optimizers)),
        notes=made[0].notes,
    )


def _users_in_backward(build: Callable[..., Any], model: nn.Module) -> Chosen:
    optimizers = in_backward.users_optimizers(build, in_backward.trainable(model), model)
    for one in optimizers:
        check_optimizers(one, "build_optimizer")
    return Chosen(
        optimizer=optimizers,
        name=names_in(optimizers[0]),
        assumptions=(in_backward.words(optimizers),),
    )


def _named_offloaded(
    name: OptimizerName,
    given: dict[str, Any],
    model: nn.Module,
    notes: tuple[str, ...],
    real_values: bool,
) -> Chosen:
    made: list[Named] = []

    def make(copies: list[nn.Parameter]) -> Any:
        made.append(named(name, model, given, copies))
        return made[0].optimizer

    found = HostOptimizer(in_backward.trainable(model), make, real_values=real_values)
    return Chosen(
        optimizer=found,
        name=made[0].name,
        assumptions=(*notes, *made[0].assumptions, found.words),
        notes=made[0].notes,
    )


def _users_offloaded(build: Callable[..., Any], model: nn.Module, real_values: bool) -> Chosen:
    if takes_model(build):
        raise UsageError(
            "the optimizer was to be offloaded (--offload optimizer), with copies of the weights, "
            "and build_optimizer takes the whole model: let it take parameters alone, or name an "
            "optimizer (--optimizer)"
        )

    def make(copies: list[nn.Parameter]) -> Any:
        given = optimizer_of(build, copies, model)
        check_optimizers(given, "build_optimizer")
        return given

    found = HostOptimizer(in_backward.trainable(model), make, real_values=real_values)
    return Chosen(optimizer=found, name=names_in(found.given), assumptions=(found.words,))


def _users(build: Callable[..., Any], parameters: list[nn.Parameter], model: nn.Module) -> Any:
    given = optimizer_of(build, parameters, model)
    check_optimizers(given, "build_optimizer")
    return given


def check_optimizers(given: Any, origin: str) -> None:
    """Refuses a result without an optimizer, or with something that cannot be stepped.

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
