"""Batches and the loss of image models that return logits alone (timm, torchvision).

In: sizes of an image. Out: build_batch, training_step. Convention: cross-entropy with one class for
each sample, as the training scripts of both libraries have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import nn

from planner.config.habits import Habits
from planner.config.published import TaskConfig
from planner.worker.published.adapters import freeze


def frozen(build: Callable[[], nn.Module], task: TaskConfig) -> Callable[[], nn.Module]:
    """Returns a builder whose models have the parameters frozen that the task names."""

    def build_model() -> nn.Module:
        model = build()
        freeze(model, task.freeze)
        return model

    return build_model


def image_batches(
    size: tuple[int, ...], dtype: torch.dtype, *, labelled: bool
) -> Callable[[int], Any]:
    """Returns build_batch: images, or images and a class for each."""

    def build_batch(batch_size: int) -> Any:
        images = torch.zeros(batch_size, *size, dtype=dtype)
        if not labelled:
            return images
        return images, torch.zeros(batch_size, dtype=torch.int64)

    return build_batch


def classification_step(habits: Habits) -> Callable[..., Any]:
    """Returns the step up to the loss; `holds_output` keeps the logits during backward."""
    held: list[Any] = []

    def training_step(model: nn.Module, batch: Any) -> torch.Tensor:
        images, classes = batch
        output = model(images)
        logits = output[0] if isinstance(output, tuple) else output
        if habits.holds_output:
            held[:] = [logits]
        return F.cross_entropy(logits, classes)

    return training_step


def dtype_named(name: str | None) -> torch.dtype:
    """Returns the dtype of that name; None: float32, in which these libraries build."""
    found: torch.dtype = getattr(torch, name or "float32")
    return found


def in_dtype(build: Callable[[], nn.Module], dtype: torch.dtype) -> Callable[[], nn.Module]:
    """Returns a builder whose models have floating parameters and buffers of the dtype."""
    if dtype is torch.float32:
        return build
    return lambda: build().to(dtype)
