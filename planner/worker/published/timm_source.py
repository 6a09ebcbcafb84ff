"""A model of timm as the callables of a target.

In: Target, PublishedModel. Out: ModelSource. Convention: `pretrained=False`: shapes alone.
"""

from __future__ import annotations

from typing import Any

import timm
from timm.data import resolve_data_config

from planner.config.near_words import near
from planner.config.published import PublishedModel, Task
from planner.config.target import Target
from planner.errors import WrongTargetError
from planner.worker.published.vision import classifier_source
from planner.worker.target.source import ModelSource

# Modules of timm whose models are built for one size of the image.
_SIZED = ("vision_transformer", "swin", "deit", "eva", "beit")


def timm_source(target: Target, model: PublishedModel) -> ModelSource:
    """Returns the model, its batch and its step for the task.

    Raises:
        WrongTargetError: timm has no such model.
    """
    task = model.task
    if not timm.is_model(model.name):
        guess = near(model.name, timm.list_models())
        hint = f"did you mean timm:{guess}?" if guess else "timm.list_models() names them"
        raise WrongTargetError(f"timm {timm.__version__} has no model {model.name!r}; {hint}")
    options: dict[str, Any] = dict(target.arguments)
    if task.task is Task.EMBED:
        options.setdefault("num_classes", 0)
    published = resolve_data_config(
        {}, pretrained_cfg=timm.get_pretrained_cfg(model.name).to_dict()
    )
    size = published["input_size"]
    if task.image is not None:
        size = (size[0], *task.image)
        if _is_sized(model.name):
            options.setdefault("img_size", task.image)

    def build() -> Any:
        return timm.create_model(model.name, pretrained=False, **options)

    version = timm.__version__
    return classifier_source(target, model, version=version, build=build, size=size)


def _is_sized(name: str) -> bool:
    """Returns whether the model takes the size of its images, as the transformers do."""
    of_module = timm.models.model_entrypoint(name).__module__
    return any(word in of_module for word in _SIZED)
