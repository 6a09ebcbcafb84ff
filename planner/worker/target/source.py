"""The functions of the user's file: for the model; optionally for batch, step, optimizer, data.

Convention: names and number of parameters decide how a function is called; no trial call is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import nn

from planner.config.step import StepConfig
from planner.wire.own_lever import OwnLever

SEQUENCE_LENGTH = "sequence_length"  # the parameter's name, and passed by it
MODEL = "model"  # likewise, of build_optimizer
_OPTIMIZERS = ("optimizers", "optimizer", "opt", "opts")  # names that a third parameter may have
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class SequenceParameter(Enum):
    """The role of a sequence length in build_batch."""

    NONE = "none"
    OPTIONAL = "optional"  # it has a default
    REQUIRED = "required"


def sequence_parameter(build_batch: Callable[..., Any]) -> SequenceParameter:
    """Returns how this function treats a sequence length.

    Only **keywords is NONE, because the function may ignore a sequence length there.
    """
    try:
        signature = inspect.signature(build_batch)
    except (TypeError, ValueError):  # written in C
        return SequenceParameter.NONE
    if SEQUENCE_LENGTH not in signature.parameters:
        return SequenceParameter.NONE
    if not _binds(signature, **{SEQUENCE_LENGTH: 0}):
        return SequenceParameter.NONE
    return SequenceParameter.OPTIONAL if _binds(signature) else SequenceParameter.REQUIRED


def owns_step(training_step: Callable[..., Any]) -> bool:
    """Returns whether the function takes (model, batch, optimizers), and so does the whole step.

    A third parameter with a default counts only if its name is one of the optimizers' names.
    """
    try:
        parameters = inspect.signature(training_step).parameters.values()
    except (TypeError, ValueError):
        return False
    placed = [parameter for parameter in parameters if parameter.kind in _BY_POSITION]
    if len(placed) < 3:
        return False
    return placed[2].default is placed[2].empty or placed[2].name in _OPTIMIZERS


def optimizer_of(build_optimizer: Callable[..., Any], parameters: Any, model: nn.Module) -> Any:
    """Calls build_optimizer with the parameters, the model, or both, and returns its result.

    The model is passed by its name, the parameters as the other parameter without a default.
    """
    try:
        known = inspect.signature(build_optimizer).parameters
    except (TypeError, ValueError):
        return build_optimizer(parameters)
    if not takes_model(build_optimizer):
        return build_optimizer(parameters)
    others = [
        parameter
        for parameter in known.values()
        if parameter.name == "parameters"
        or (
            parameter.name != MODEL
            and parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        )
    ]
    if not others:
        return build_optimizer(model=model)
    if others[0].kind is inspect.Parameter.POSITIONAL_ONLY:
        return build_optimizer(parameters, model=model)
    return build_optimizer(**{others[0].name: parameters, MODEL: model})


def takes_model(build_optimizer: Callable[..., Any]) -> bool:
    """Returns whether build_optimizer has a parameter `model` that can be passed by its name."""
    try:
        found = inspect.signature(build_optimizer).parameters.get(MODEL)
    except (TypeError, ValueError):
        return False
    return found is not None and found.kind in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )


def _binds(signature: inspect.Signature, **keywords: int) -> bool:
    try:
        signature.bind(0, **keywords)
    except TypeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The callables of one target. None: the user gave none, and a default is used.

    `collate` makes a batch from items of the data set, if the batch comes from there.

    `checkpoint` switches activation checkpointing on in a model, and returns how; None: as the
    model itself, or block by block. With `settles_dtypes` the model has the dtypes of the requested
    precision when it is built, and is not cast. `assumptions` are sentences on what was assumed.
    `levers` are changes that the file offers. `offload` has a pipeline move its models between host
    and card, and returns how; None: the target is no pipeline.

    `path` is the file of the user, where there is one. `build_model` may be called repeatedly; each
    call gives a new model. With `builds_alike` each is the same, and building reads nothing that a
    run may change; such a model may be built before the runs (published/ahead.py fills `ahead`).
    """

    build_model: Callable[[], nn.Module]
    build_batch: Callable[..., Any] | None = None
    training_step: Callable[..., Any] | None = None
    build_optimizer: Callable[..., Any] | None = None
    build_dataset: Callable[[], Any] | None = None
    parallelize: Callable[[nn.Module, Any], Any] | None = None
    inference_step: Callable[[nn.Module, Any], Any] | None = None
    offload: Callable[[nn.Module, StepConfig], tuple[str, ...]] | None = None
    collate: Callable[[Any], Any] | None = None
    label: str = ""
    path: str | None = None
    checkpoint: Callable[[nn.Module], str] | None = None
    settles_dtypes: bool = False
    assumptions: tuple[str, ...] = ()
    builds_alike: bool = False
    levers: tuple[OwnLever, ...] = ()
    ahead: list[nn.Module] = field(default_factory=list)
