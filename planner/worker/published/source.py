"""A published model as the callables of a target.

In: a Target with a PublishedModel. Out: ModelSource, as a model file would give it. Convention: the
library is imported here, once, and nothing is downloaded.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace

from planner.config.published import Library, PublishedModel, Task
from planner.config.target import Target
from planner.worker.model.compiler import load_compiler
from planner.worker.published.card_queries import card_stays_untouched
from planner.worker.published.hidden_packages import hidden, unused_by
from planner.worker.target.source import ModelSource

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def published_source(target: Target, model: PublishedModel) -> ModelSource:
    """Returns the model, its batch and its step for the task.

    Raises:
        WrongTargetError: the library has no such model, or it cannot do the task.
    """
    for name in _OFFLINE:  # a config is all that is needed
        os.environ[name] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning)  # of calls between libraries
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    unused = unused_by(model.task)
    with card_stays_untouched(), hidden(unused):
        source = _source(target, model)
    return replace(source, build_model=hidden(unused)(source.build_model), builds_alike=True)


def _source(target: Target, model: PublishedModel) -> ModelSource:
    """Imports the library of the model, and returns the source."""
    if model.library is Library.TRANSFORMERS:
        load_compiler()  # transformers does it while torch.distributed.tensor is half imported
        from planner.worker.published.transformers_source import transformers_source

        return transformers_source(target, model)
    if model.library is Library.TIMM:
        from planner.worker.published.timm_source import timm_source

        return timm_source(target, model)
    if model.library is Library.TORCHVISION:
        from planner.worker.published.torchvision_source import torchvision_source

        return torchvision_source(target, model)
    if model.task.task is Task.GENERATE:
        load_compiler()  # its encoders are of transformers
        from planner.worker.published.pipelines.source import pipeline_source

        return pipeline_source(target, model)
    from planner.worker.published.diffusers_source import diffusers_source

    return diffusers_source(target, model)
