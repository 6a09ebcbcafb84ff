"""A model of torchvision as the callables of a target.

In: Target, PublishedModel. Out: ModelSource. Convention: `weights=None`: shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_builder, get_model_weights, list_models

from planner.config.near_words import near
from planner.config.published import PublishedModel, Task
from planner.config.target import Target
from planner.errors import WrongTargetError
from planner.worker.published.vision import classifier_source
from planner.worker.target.source import ModelSource

_USUAL = 224
_FRAMES = 16
# Kinds of models whose batch and loss are others than images and classes.
_OTHERS = ("detection", "segmentation", "optical_flow", "quantization")


def torchvision_source(target: Target, model: PublishedModel) -> ModelSource:
    """Returns the model, its batch and its step for the task.

    Raises:
        WrongTargetError: torchvision has no such model, or it is no classifier.
    """
    task, name = model.task, model.name
    if name not in list_models():
        guess = near(name, list_models())
        hint = f"did you mean torchvision:{guess}?" if guess else "see torchvision.models"
        raise WrongTargetError(
            f"torchvision {torchvision.__version__} has no model {name!r}; {hint}"
        )
    module = get_model_builder(name).__module__
    if any(kind in module for kind in _OTHERS):
        raise WrongTargetError(
            f"{name} is a model for {module.split('.')[2].replace('_', ' ')}, and a task here is "
            "one of a classifier: write a model file with build_model(), build_batch() and "
            "training_step()"
        )
    options: dict[str, Any] = dict(target.arguments)
    height, width = task.image or _published_size(name)
    size: tuple[int, ...] = (3, height, width)
    if "video" in module:
        size = (3, task.frames or _FRAMES, height, width)
    if name.startswith("vit_") and task.image is not None:
        options.setdefault("image_size", height)
    build = _builder(name, options, without_head=task.task is Task.EMBED)
    version = torchvision.__version__
    return classifier_source(target, model, version=version, build=build, size=size)


def _builder(name: str, options: dict[str, Any], *, without_head: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        built: nn.Module = get_model(name, weights=None, **options)
        if without_head:
            for head in ("fc", "classifier", "heads", "head"):
                if hasattr(built, head):
                    setattr(built, head, nn.Identity())
                    break
        return built

    return build


def _published_size(name: str) -> tuple[int, int]:
    """Returns the size of the images that the default weights were trained for."""
    transforms: Any = next(iter(get_model_weights(name))).transforms
    size = getattr(transforms, "keywords", {}).get("crop_size", _USUAL)
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
