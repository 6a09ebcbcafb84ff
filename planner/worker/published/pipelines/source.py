"""A pipeline of diffusers as the callables of a target.

In: Target, PublishedModel whose config is a document of components. Out: ModelSource, whose model
holds the components, and whose step is one call of the pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
from torch import nn

from planner.config.published import PublishedModel, TaskConfig
from planner.config.target import Target
from planner.errors import UsageError
from planner.worker.model.pipeline_model import PipelineModel, pipeline_step
from planner.worker.published.pipelines.calls import (
    call_arguments,
    denoise_steps,
    prompts,
    run,
    sized,
    skipped_steps,
    steps_words,
)
from planner.worker.published.pipelines.components import Weights, build_pipeline, class_of
from planner.worker.published.pipelines.savings import offload_model, save_memory, saving_words
from planner.worker.published.quantisation import import_bitsandbytes
from planner.worker.published.vision import dtype_named
from planner.worker.target.source import ModelSource


def pipeline_source(target: Target, model: PublishedModel) -> ModelSource:
    """Returns the pipeline, its prompts and its call for the task.

    Raises:
        WrongTargetError: diffusers has no such class.
        UsageError: an option that the pipeline does not take.
    """
    if target.arguments:
        raise UsageError(
            "--model-arg replaces keys of one config, and a pipeline has several: change the "
            "config in a folder, as diffusers:path/to/folder"
        )
    task, document = model.task, json.loads(model.config)
    made = class_of("diffusers", document["_class_name"], model.name)
    weights = Weights(
        dtype=dtype_named(model.dtype or document.get("dtype")),
        is_requested=model.dtype is not None,
        quant=task.quant,
    )
    if task.quant is not None:
        import_bitsandbytes()
    call_arguments(made, task, prompts(1), denoise_steps(made, task))  # refuses what it lacks

    def build_model() -> nn.Module:
        pipeline = build_pipeline(model.name, document, weights)
        pipeline.set_progress_bar_config(disable=True)
        save_memory(pipeline, task)
        built = PipelineModel(pipeline)
        built.iterations.skipped = skipped_steps(made, task)
        return built

    return ModelSource(
        build_model=build_model,
        build_batch=prompts,
        inference_step=_step(task),
        offload=offload_model,
        label=target.label,
        settles_dtypes=True,
        assumptions=(
            *filter(None, (model.origin,)),
            *_words(made, model, document, weights),
            *steps_words(made, task),
            *saving_words(task),
        ),
    )


def _step(task: TaskConfig) -> Callable[[nn.Module, Any], Any]:
    """Returns the call of the pipeline, which makes an image of the size that the run asks for."""

    def inference_step(model: nn.Module, batch: Any) -> Any:
        assert isinstance(model, PipelineModel), "build_model made it"
        asked = sized(task, model.size)
        return pipeline_step(lambda pipeline, batch: run(pipeline, asked, batch))(model, batch)

    return inference_step


def _words(
    made: Any, model: PublishedModel, document: Mapping[str, Any], weights: Weights
) -> tuple[str, ...]:
    name = str(weights.dtype).removeprefix("torch.")
    own = sorted(
        f"{role} in {one['dtype']}"
        for role, one in document["components"].items()
        if one.get("dtype") and not weights.is_requested
    )
    usual = "" if weights.is_requested else " (as it is usually loaded; --precision changes it)"
    words = [
        f"pipeline: {made.__name__} of diffusers {diffusers.__version__}, from its configs alone, "
        f"in {name}{usual}" + "".join(f", {one}" for one in own) + "; without a safety checker"
    ]
    quant = model.task.quant
    if quant is not None:
        words.append(
            f"weights: the linear layers of denoiser and encoders in {quant.value} (bitsandbytes)"
        )
    return tuple(words)
