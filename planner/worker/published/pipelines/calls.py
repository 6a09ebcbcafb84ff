"""One call of a pipeline, as a user's script makes it.

In: a pipeline, TaskConfig, the batch. Out: what the pipeline returns. Convention: what the caller
leaves open is the pipeline's own default; the result stays on the card.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from planner.config.generation import ImageSize
from planner.config.published import TaskConfig
from planner.errors import UsageError

WORD = "a"
"""A word of prompts, a token in most tokenizers."""
RUN_STEPS = 3
"""Steps of denoising that are run: the first one, one whose step before has left something, and
one that must need no more than that one."""
DEFAULT_PROMPT = 32
"""Tokens of a prompt; most pipelines fill a prompt up to their longest."""
DENOISERS = ("unet", "transformer", "transformer_2", "prior")
"""Roles of the models that run once for each step of denoising."""
_STEPS, _PROMPT = "num_inference_steps", "prompt"


def denoise_steps(pipeline_class: Any, task: TaskConfig) -> int:
    """Returns the steps of a whole generation: the caller's, else those of the class.

    Raises:
        UsageError: neither says how many.
    """
    parameter = inspect.signature(pipeline_class.__call__).parameters.get(_STEPS)
    default = None if parameter is None else parameter.default
    steps = task.denoise_steps or default
    if not isinstance(steps, int):
        raise UsageError(
            f"{pipeline_class.__name__} has no default number of steps: give --denoise-steps 50"
        )
    return steps


def prompts(batch_size: int, sequence_length: int = DEFAULT_PROMPT) -> torch.Tensor:
    """Returns a tensor without bytes that says how many prompts of how many tokens there are."""
    return torch.empty(batch_size, sequence_length, 0)


def sized(task: TaskConfig, size: ImageSize | None) -> TaskConfig:
    """Returns the task with another size of the image or clip, where there is one."""
    if size is None:
        return task
    if size.height is not None and size.width is not None:
        task = replace(task, image=(size.height, size.width))
    return task if size.frames is None else replace(task, frames=size.frames)


def run(pipeline: Any, task: TaskConfig, batch: torch.Tensor) -> Any:
    """Runs the pipeline with a few steps of denoising, and returns its result."""
    steps = denoise_steps(type(pipeline), task) - skipped_steps(type(pipeline), task)
    return pipeline(**call_arguments(type(pipeline), task, batch, steps))


def skipped_steps(pipeline_class: Any, task: TaskConfig) -> int:
    """Returns the steps of a whole generation that `run` leaves out."""
    return max(0, denoise_steps(pipeline_class, task) - RUN_STEPS)


def steps_words(pipeline_class: Any, task: TaskConfig) -> tuple[str, ...]:
    """Returns a sentence on prompts, and one on steps that are left out."""
    steps, skipped = denoise_steps(pipeline_class, task), skipped_steps(pipeline_class, task)
    words = [
        f"prompt: {DEFAULT_PROMPT} tokens or as --seq says, before the pipeline fills it up; the "
        "images stay on the card as tensors"
    ]
    if skipped:
        words.append(
            f"denoising: {steps - skipped} of {steps} steps were run; each of the others is taken "
            "to need the time and the memory of the last of these"
        )
    return tuple(words)


def call_arguments(
    pipeline_class: Any, task: TaskConfig, batch: torch.Tensor, steps: int
) -> dict[str, Any]:
    """Returns the keywords of the call; `batch` has the shape (samples, tokens of a prompt, 0).

    Raises:
        UsageError: the pipeline has no such size, or needs more than a prompt and an image.
    """
    parameters = inspect.signature(pipeline_class.__call__).parameters
    samples, tokens = batch.shape[0], batch.shape[1]
    given: dict[str, Any] = {_STEPS: steps, "output_type": "pt"}
    if _PROMPT in parameters:
        given[_PROMPT] = [" ".join([WORD] * tokens)] * samples
    elif "batch_size" in parameters:
        given["batch_size"] = samples
    if task.image is not None:
        given["height"], given["width"] = task.image
    if task.frames is not None:
        given["num_frames"] = task.frames
    for name in ("height", "num_frames"):
        if name in given and name not in parameters:
            option = "--image" if name == "height" else "--frames"
            raise UsageError(f"{pipeline_class.__name__} takes no {name}: leave {option} out")
    _check_rest(pipeline_class, parameters, given)
    return {name: value for name, value in given.items() if name in parameters}


def _check_rest(
    pipeline_class: Any, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> None:
    """Refuses a pipeline whose call needs what is not known here."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        name
        for name, parameter in parameters.items()
        if name != "self"
        and parameter.kind in by_name
        and parameter.default is parameter.empty
        and name not in given
    ]
    if _PROMPT not in parameters and "batch_size" not in parameters:
        missing.append("an input that is no prompt")
    if missing:
        raise UsageError(
            f"{pipeline_class.__name__} needs {', '.join(missing)}, which is not known here; write "
            "a model file with build_pipeline(), build_batch() and inference_step(pipeline, batch)"
        )
