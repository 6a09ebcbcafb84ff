"""The model-file contract: from a target to the user's callables.

In: a Target (file, module or pickle). Out: ModelSource. Convention: nothing is built here; a fault
of the file itself is a TargetError, an error that its code raises is a ModelError.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from planner.config.target import Target, TargetKind
from planner.errors import TargetError
from planner.worker.drive import lightning
from planner.worker.model.compiler import defer_compiler
from planner.worker.published.source import published_source
from planner.worker.record import attention
from planner.worker.target import transport
from planner.worker.target.imports import import_file, import_module
from planner.worker.target.lookup import find_model
from planner.worker.target.own_levers import own_levers
from planner.worker.target.pipeline_file import is_pipeline_file, pipeline_of_file
from planner.worker.target.source import MODEL, SEQUENCE_LENGTH, ModelSource, owns_step, takes_model

__all__ = ["ModelSource", "load"]

# The optional functions of a model file, with their arguments. In addition, build_batch may take a
# sequence_length, training_step the optimizers, build_optimizer the model.
_OPTIONAL = {
    "build_batch": ("batch_size",),
    "training_step": ("model", "batch"),
    "build_optimizer": ("parameters",),
    "build_dataset": (),
    "inference_step": ("model", "batch"),
    "parallelize": ("model", "mesh"),
}


def load(target: Target) -> ModelSource:
    """Imports the user's file or module, or unpacks the sent objects, and finds the model.

    Raises:
        TargetError: no file, no model, several models, a name that is not there, arguments that
            the model does not take; the message says what to write instead.
        ModelError: the user's file raised while it was imported.
    """
    attention.install()
    defer_compiler()
    source = _load(target)
    gc.freeze()  # later collections examine the remains of runs, not every imported module
    return source


def _load(target: Target) -> ModelSource:
    if target.kind is TargetKind.PICKLE:
        return _from_pickle(target)
    if target.published is not None:
        return published_source(target, target.published)
    if target.kind is TargetKind.FILE:
        module = import_file(Path(target.location))
    else:
        module = import_module(target.location)
    given = {name: _optional(module, name) for name in _OPTIONAL}
    if is_pipeline_file(module, target):
        return pipeline_of_file(
            module,
            target,
            build_batch=given["build_batch"],
            inference_step=given["inference_step"],
        )
    return ModelSource(
        build_model=lightning.completed(find_model(module, target)),
        build_batch=given["build_batch"],
        training_step=given["training_step"],
        build_optimizer=given["build_optimizer"],
        build_dataset=given["build_dataset"],
        parallelize=given["parallelize"],
        inference_step=given["inference_step"],
        collate=getattr(module, "collate", None),
        label=target.label,
        path=module.__file__ if target.kind is TargetKind.FILE else None,
        levers=own_levers(module) if target.kind is TargetKind.FILE else (),
    )


def _optional(module: ModuleType, name: str) -> Callable[..., Any] | None:
    function = getattr(module, name, None)
    if function is None:
        return None
    return _checked(function, name, module.__name__)


def _checked(function: object, name: str, where: str) -> Callable[..., Any]:
    arguments = _OPTIONAL[name]
    wanted = f"{name}({', '.join(arguments)})"
    if not callable(function):
        raise TargetError(
            f"{name} in {where} is a {type(function).__name__}; write a function {wanted}"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function
    keywords: dict[str, str] = {}
    if name == "build_batch" and _requires(signature, SEQUENCE_LENGTH):
        keywords, wanted = {SEQUENCE_LENGTH: ""}, f"{name}(batch_size, {SEQUENCE_LENGTH}=...)"
    if name == "training_step" and owns_step(function):
        arguments, wanted = (*arguments, "optimizers"), f"{name}(model, batch, optimizers)"
    if name == "build_optimizer" and takes_model(function):
        return _checked_for_model(function, signature, where)
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        raise TargetError(
            f"{name}{signature} in {where} cannot be called as {wanted}: {error}"
        ) from None
    return function


def _checked_for_model(
    function: Callable[..., Any], signature: inspect.Signature, where: str
) -> Callable[..., Any]:
    """Accepts build_optimizer(model), or build_optimizer(parameters, model) in any order."""
    needed = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name != MODEL
    ]
    if len(needed) > 1:
        raise TargetError(
            f"build_optimizer{signature} in {where} cannot be called as "
            f"build_optimizer(parameters, model): it needs {' and '.join(needed)}; "
            "give all but one a default"
        )
    return function


def _requires(signature: inspect.Signature, name: str) -> bool:
    """Returns whether a parameter after the first has this name and no default."""
    behind_the_first = list(signature.parameters.values())[1:]
    return any(
        parameter.name == name and parameter.default is parameter.empty
        for parameter in behind_the_first
    )


def _from_pickle(target: Target) -> ModelSource:
    sent = transport.unpack(Path(target.location).read_bytes())
    given = {
        name: None if sent.get(name) is None else _checked(sent[name], name, "the call")
        for name in _OPTIONAL
    }
    return ModelSource(
        build_model=lightning.completed(find_model(sent["model_or_builder"], target)),
        build_batch=given["build_batch"],
        training_step=given["training_step"],
        build_optimizer=given["build_optimizer"],
        build_dataset=given["build_dataset"],
        parallelize=given["parallelize"],
        inference_step=given["inference_step"],
        label=target.name or "model",
    )
