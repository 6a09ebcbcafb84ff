"""The stages of a pipeline: which of its models runs.

In: a PipelineModel. Out: calls of functions, when a model begins and when weights move.
Convention: a stage lasts from the first call of one of its modules until another model begins; what
runs between two calls of the denoiser (the scheduler, the guidance) belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from planner.worker.model.pipeline_model import PipelineModel


@contextmanager
def stages_noted(model: nn.Module, begin: Callable[[str], None]) -> Iterator[None]:
    """Calls `begin(name)` when another model of a pipeline begins; nothing for any other model."""
    if not isinstance(model, PipelineModel):
        yield
        return
    names = {
        id(module): name for name, child in model.named_children() for module in child.modules()
    }
    current = ""

    def before(module: nn.Module, args: Any) -> None:
        nonlocal current
        if torch.compiler.is_compiling():
            return
        name = names.get(id(module))
        if name is not None and name != current:
            current = name
            begin(name)

    handle = register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def moves_noted(model: nn.Module, moved: Callable[[nn.Module, str | None], None]) -> Iterator[None]:
    """Calls `moved(module, name)` when weights of a pipeline have moved; see WeightCopies."""
    if not isinstance(model, PipelineModel):
        yield
        return
    usual = model.copies.on_moved
    model.copies.on_moved = moved
    try:
        yield
    finally:
        model.copies.on_moved = usual
