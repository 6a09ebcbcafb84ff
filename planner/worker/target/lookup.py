"""Finds the model in a module: the object, and the way to build it.

In: the user's module, or the object the user passed. Out: a callable that builds a fresh model.
Convention: `build_model` first, then `model`, then the only nn.Module class that can be built.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn

from planner.config.target import Target
from planner.errors import ModelError, TargetError
from planner.worker.target.transport import structure_copy

Builder = Callable[[], nn.Module]

# The other functions that a model file may contain.
OTHER_FUNCTIONS = (
    "build_batch", "training_step", "build_optimizer", "build_dataset", "inference_step", "collate",
)  # fmt: skip
_HOW = (
    "write `def build_model():` that returns an nn.Module, "
    "or a module-level `model = ...`, or name one: {where}:NAME"
)


def find_model(holder: object, target: Target) -> Builder:
    """Returns the builder of `target`'s model in `holder` (a module, or the object itself).

    Raises:
        TargetError: no model, several, none of that name, or one that does not take the arguments.
    """
    if not isinstance(holder, ModuleType):
        return _builder(holder, target.label, target)
    if target.name is not None:
        return _builder(_named(holder, target), target.label, target)
    for name in ("build_model", "model"):
        if hasattr(holder, name):
            return _builder(getattr(holder, name), name, target)
    return _builder(_only_class(holder, target), target.label, target)


def _named(module: ModuleType, target: Target) -> object:
    name = target.name or ""
    if hasattr(module, name):
        return getattr(module, name)
    near = difflib.get_close_matches(name, _candidates(module) or dir(module), n=3)
    hint = f"near it: {', '.join(near)}" if near else _offer(module, target)
    raise TargetError(f"there is no {name!r} in {target.location}; {hint}")


def _only_class(module: ModuleType, target: Target) -> object:
    classes = [
        (name, value)
        for name, value in vars(module).items()
        if _is_model_class(value) and value.__module__ == module.__name__
    ]
    buildable = [(name, value) for name, value in classes if _takes(value, target) is None]
    if len(buildable) == 1:
        return buildable[0][1]
    if buildable:
        named = ", ".join(f"{target.location}:{name}" for name, _ in buildable)
        raise TargetError(
            f"several models in {target.location}; name one: {named}; or write "
            "`def build_model():` that returns it"
        )
    if classes:
        named = ", ".join(f"{name}{_signature(value)}" for name, value in classes)
        raise TargetError(
            f"no model in {target.location} that needs no arguments (found {named}); write "
            f"`def build_model():` that returns one, or give them: "
            f"{target.location}:{classes[0][0]} --model-arg KEY=VALUE"
        )
    raise TargetError(f"no model in {target.location}; {_offer(module, target)}")


def _offer(module: ModuleType, target: Target) -> str:
    how = _HOW.format(where=target.location)
    names = _candidates(module)
    if not names:
        return how
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{how} (it holds {shown})"


def _candidates(module: ModuleType) -> list[str]:
    """Returns public names that could be, or build, a model."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or _is_model_class(value) or inspect.isfunction(value))
        and name not in OTHER_FUNCTIONS
    ]


def _is_model_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _builder(found: object, name: str, target: Target) -> Builder:
    if isinstance(found, nn.Module):
        if target.arguments:
            raise TargetError(
                f"{name} is a model already built; arguments "
                f"({_arguments_text(target)}) need a function or a class"
            )
        return lambda: structure_copy(found)
    if isinstance(found, type) and not _is_model_class(found):
        raise TargetError(f"{name} is the class {found.__name__}, which is not an nn.Module")
    if not callable(found):
        raise TargetError(
            f"{name} is a {type(found).__name__}, not an nn.Module or a function that returns one"
        )
    wrong = _takes(found, target)
    if wrong is not None:
        raise TargetError(_arguments_error(found, name, target, wrong))
    return lambda: _call(found, name, dict(target.arguments))


def _call(function: Callable[..., Any], name: str, arguments: dict[str, Any]) -> nn.Module:
    model = function(**arguments)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{name} returned a {type(model).__name__}, not an nn.Module; return the model itself"
        )
    return model


def _takes(function: Callable[..., Any], target: Target) -> str | None:
    """Returns None if `function` accepts the target's arguments, else the reason."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(**dict(target.arguments))
    except TypeError as error:
        return str(error)
    return None


def _arguments_error(function: Callable[..., Any], name: str, target: Target, wrong: str) -> str:
    given = f" with {_arguments_text(target)}" if target.arguments else ""
    return (
        f"{name}{_signature(function)} cannot be called{given}: {wrong}; "
        "give arguments as --model-arg KEY=VALUE"
    )


def _arguments_text(target: Target) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in target.arguments)


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(...)"
