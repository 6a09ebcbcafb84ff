"""A model file with build_pipeline(): several models that are brought, run and freed in turn.

In: the user's module. Out: ModelSource whose step is one run of the pipeline. Convention: without
an inference_step a pipeline of diffusers is called with prompts, as diffusers:NAME calls it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn

from planner.config.published import Task, TaskConfig
from planner.config.target import Target, TargetKind
from planner.errors import TargetError
from planner.worker.model.pipeline_model import PipelineModel, pipeline_step
from planner.worker.published.pipelines.calls import prompts, run, skipped_steps
from planner.worker.published.pipelines.savings import offload_model
from planner.worker.target.source import ModelSource

BUILD_PIPELINE = "build_pipeline"


def is_pipeline_file(module: ModuleType, target: Target) -> bool:
    """Returns whether the target is the pipeline of this module: named so, or not otherwise."""
    return target.name == BUILD_PIPELINE or (
        target.name is None and hasattr(module, BUILD_PIPELINE) and not hasattr(module, "model")
    )


def pipeline_of_file(
    module: ModuleType,
    target: Target,
    *,
    build_batch: Callable[..., Any] | None,
    inference_step: Callable[..., Any] | None,
) -> ModelSource:
    """Returns the pipeline of the file as the callables of a target.

    Raises:
        TargetError: there is a build_model too, build_pipeline is no function, or a build_batch
            comes without the inference_step that takes its batch.
    """
    build = getattr(module, BUILD_PIPELINE, None)
    if not callable(build):
        raise TargetError(
            f"there is no function {BUILD_PIPELINE} in {target.location}; write `def "
            f"{BUILD_PIPELINE}():` that returns a pipeline"
        )
    if target.name is None and hasattr(module, "build_model"):
        raise TargetError(
            f"{target.location} has build_model and {BUILD_PIPELINE}; name one: "
            f"{target.location}:{BUILD_PIPELINE}"
        )
    if build_batch is not None and inference_step is None:
        raise TargetError(
            f"{target.location} has {BUILD_PIPELINE} and build_batch, and nothing takes the batch: "
            "write `def inference_step(pipeline, batch):`"
        )
    arguments = dict(target.arguments)

    task = TaskConfig(task=Task.GENERATE)

    def build_model() -> nn.Module:
        built = PipelineModel(build(**arguments))
        if inference_step is None:
            _check_callable(built.pipeline)
            built.pipeline.set_progress_bar_config(disable=True)
            built.iterations.skipped = skipped_steps(type(built.pipeline), task)
        return built

    def call(pipeline: Any, batch: Any) -> Any:
        return run(pipeline, task, batch)

    return ModelSource(
        build_model=build_model,
        build_batch=build_batch or prompts,
        inference_step=pipeline_step(inference_step or call),
        offload=offload_model,
        label=target.label,
        path=module.__file__ if target.kind is TargetKind.FILE else None,
    )


def _check_callable(pipeline: Any) -> None:
    """Refuses a pipeline whose call is not known.

    Raises:
        TargetError: it is no pipeline of diffusers.
    """
    diffusers = sys.modules.get("diffusers")
    if diffusers is None or not isinstance(pipeline, diffusers.DiffusionPipeline):
        raise TargetError(
            f"{BUILD_PIPELINE} returned a {type(pipeline).__name__}, which is no pipeline of "
            "diffusers: write `def build_batch(batch_size):` and "
            "`def inference_step(pipeline, batch):`, which runs it once"
        )
