"""Image models that return logits alone (timm, torchvision) as the callables of a target.

In: how to build one, and the size of its images. Out: ModelSource. Convention: cross-entropy with
one class for each sample, as the training scripts of both libraries have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import nn

from planner.config.habits import HABITS, Habits
from planner.config.published import PublishedModel, TaskConfig
from planner.config.target import Target
from planner.worker.published.adapters import freeze
from planner.worker.target.source import ModelSource


def classifier_source(
    target: Target,
    model: PublishedModel,
    *,
    version: str,
    build: Callable[[], nn.Module],
    size: tuple[int, ...],
) -> ModelSource:
    """Returns the model that `build` makes, its batch and its step for the task.

    `version` is that of its library; `size` is of one sample, like (3, 224, 224).
    """
    task, dtype = model.task, dtype_named(model.dtype)
    shape = "x".join(map(str, size))
    return ModelSource(
        build_model=_frozen(_in_dtype(build, dtype), task),
        build_batch=_image_batches(size, dtype, labelled=task.task.trains),
        training_step=_classification_step(HABITS[task.like]),
        label=target.label,
        settles_dtypes=True,
        assumptions=(
            f"model: {model.name} of {model.library.package} {version}, without its weights",
            f"batch: images of {shape}" + ("; one class for each" if task.task.trains else ""),
        ),
    )


def _frozen(build: Callable[[], nn.Module], task: TaskConfig) -> Callable[[], nn.Module]:
    """Returns a builder whose models have the parameters frozen that the task names."""

    def build_model() -> nn.Module:
        model = build()
        freeze(model, task.freeze)
        return model

    return build_model


def _image_batches(
    size: tuple[int, ...], dtype: torch.dtype, *, labelled: bool
) -> Callable[[int], Any]:
    """Returns build_batch: images, or images and a class for each."""

    def build_batch(batch_size: int) -> Any:
        images = torch.zeros(batch_size, *size, dtype=dtype)
        if not labelled:
            return images
        return images, torch.zeros(batch_size, dtype=torch.int64)

    return build_batch


def _classification_step(habits: Habits) -> Callable[..., Any]:
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


def _in_dtype(build: Callable[[], nn.Module], dtype: torch.dtype) -> Callable[[], nn.Module]:
    """Returns a builder whose models have floating parameters and buffers of the dtype."""
    if dtype is torch.float32:
        return build
    return lambda: build().to(dtype)
