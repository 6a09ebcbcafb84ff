"""What the user's file gives: how to build the model, and optionally batch, step and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """The callables of one target. None: the user gave none, and a default is used.

    `path` is the file of the user, where there is one. `build_model` may be called repeatedly; each
    call gives a model of its own.
    """

    build_model: Callable[[], nn.Module]
    build_batch: Callable[[int], Any] | None = None
    training_step: Callable[[nn.Module, Any], Any] | None = None
    build_optimizer: Callable[[Any], Any] | None = None
    label: str = ""
    path: str | None = None
