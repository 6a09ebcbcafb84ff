"""What the user's file gives: how to build the model; optionally batch, step, optimizer, data.

Convention: a parameter's name or number says what a function wants, and nothing is called for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import nn

SEQUENCE_LENGTH = "sequence_length"  # the parameter's name, and passed by it
MODEL = "model"  # likewise, of build_optimizer
_OPTIMIZERS = ("optimizers", "optimizer", "opt", "opts")  # names that a third parameter may have
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class SequenceParameter(Enum):
    """Whether build_batch has a second axis beside the batch."""

    NONE = "none"
    OPTIONAL = "optional"  # it has a default
    REQUIRED = "required"


def sequence_parameter(build_batch: Callable[..., Any]) -> SequenceParameter:
    """What build_batch(batch_size, sequence_length=...) would be to this function.

    A bare **keywords is NONE: nothing says that a sequence length would not be dropped there.
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
    """Returns whether it is a training_step(model, batch, optimizers), which does the whole step.

    A third parameter with a default is for the optimizers where its name says so.
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
    """What build_optimizer gives for the parameters, for the model, or for both.

    The model goes by its name, the parameters to the one other parameter without a default.
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

    `collate` makes a batch of items of the data set, where the batch comes from it.

    `path` is the file of the user, where there is one. `build_model` may be called repeatedly; each
    call gives a model of its own.
    """

    build_model: Callable[[], nn.Module]
    build_batch: Callable[..., Any] | None = None
    training_step: Callable[..., Any] | None = None
    build_optimizer: Callable[..., Any] | None = None
    build_dataset: Callable[[], Any] | None = None
    inference_step: Callable[[nn.Module, Any], Any] | None = None
    collate: Callable[[Any], Any] | None = None
    label: str = ""
    path: str | None = None
