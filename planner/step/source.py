"""What the user's file gives: how to build the model; optionally batch, step, optimizer, data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import nn

SEQUENCE_LENGTH = "sequence_length"  # the parameter's name, and passed by it


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


def _binds(signature: inspect.Signature, **keywords: int) -> bool:
    try:
        signature.bind(0, **keywords)
    except TypeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The callables of one target. None: the user gave none, and a default is used.

    `path` is the file of the user, where there is one. `build_model` may be called repeatedly; each
    call gives a model of its own.
    """

    build_model: Callable[[], nn.Module]
    build_batch: Callable[..., Any] | None = None
    training_step: Callable[[nn.Module, Any], Any] | None = None
    build_optimizer: Callable[[Any], Any] | None = None
    build_dataset: Callable[[], Any] | None = None
    label: str = ""
    path: str | None = None
