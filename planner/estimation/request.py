"""Checks the caller's options for a step, before anything is started.

In: the keyword options of estimate(), curve() and compare(). Out: EstimateRequest. Convention:
session.py looks up the cards, the host and this machine's torch later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.options import CurveOptions, EstimateOptions, InspectOptions, Progress
from planner.config.parse import arguments, flag, step_config, texts
from planner.config.published import Task
from planner.config.step import Mode, StepConfig
from planner.config.target import Scalar, Target
from planner.errors import UsageError
from planner.estimation.job import speed_words
from planner.preflight.target import check_target
from planner.process.payload import ModelFunctions
from planner.published.names import named_model
from planner.published.words import NAMES as TASK_NAMES
from planner.published.words import refuse_task_words

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_TIMEOUT_S = 600.0
_GENERATE = Task.GENERATE.value
_FUNCTIONS = ("build_batch", "training_step", "build_optimizer", "inference_step")
_OF_THE_MODEL = (*_FUNCTIONS, "model_arguments", "timeout_s", "on_progress", "cache")
_OF_THE_CARD = ("gpu_memory", "reserve", "alloc_conf", "calibration", "hardware_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model, its functions, and how its step is run.

    `given` are arguments for the function that builds the model; `step_words` are the fields of
    StepConfig in the caller's words. With `cache`, answers are kept.
    """

    target: Any
    functions: ModelFunctions
    given: tuple[tuple[str, Scalar], ...]
    config: StepConfig
    step_words: Mapping[str, Any]
    timeout_s: float
    progress: Progress
    cache: bool


def model_request(target: Any, **options: Unpack[InspectOptions]) -> ModelRequest:
    """Returns the request of these options of inspect() and verify().

    Raises:
        UsageError: an option does not exist or does not take its value; the target cannot be a
        target.
    """
    words: dict[str, Any] = dict(options)
    own = {name: words.pop(name) for name in _OF_THE_MODEL if name in words}
    of_task = {name: words.pop(name) for name in TASK_NAMES if name in words}
    given = arguments(own.get("model_arguments") or {}, "model_arguments")
    _settle_generate(target, words, of_task)
    config = step_config(words)
    functions = ModelFunctions(**{name: own.get(name) for name in _FUNCTIONS})
    if isinstance(target, (str, os.PathLike)):
        text = os.fspath(target)
        model = named_model(text)
        if model is None:
            refuse_task_words(of_task, text)
            check_target(text)
        elif functions.given:
            raise UsageError(
                "build_batch, training_step, build_optimizer and inference_step belong in a model "
                f"file, and {text} is a published model: its task decides"
            )
        else:
            from planner.published.target import settle  # loads the catalog

            published = settle(text, model, words, of_task, given)
            target, given = published.target, published.given
            words = dict(published.step_words)
            config = step_config(words)
    elif not isinstance(target, Target):
        refuse_task_words(of_task, f"a {type(target).__name__}")
    return ModelRequest(
        target=target,
        functions=functions,
        given=given,
        config=config,
        step_words=words,
        timeout_s=own.get("timeout_s", DEFAULT_TIMEOUT_S),
        progress=own.get("on_progress") or (lambda _: None),
        cache=flag(own.get("cache", True), "cache"),
    )


def _settle_generate(target: Any, words: dict[str, Any], of_task: dict[str, Any]) -> None:
    """Puts the task generate in the place of the mode of that name.

    Raises:
        UsageError: another task was given too, or the target is no published model.
    """
    if str(getattr(words.get("mode"), "value", words.get("mode"))).lower() != _GENERATE:
        return
    task = of_task.get("task")
    if task not in (None, Task.GENERATE, _GENERATE):
        raise UsageError(
            f"mode generate and task {getattr(task, 'value', task)} were given (--mode, --task): "
            "leave one of the two out"
        )
    if not isinstance(target, (str, os.PathLike)) or named_model(os.fspath(target)) is None:
        raise UsageError(
            "mode generate (--mode) is for a published model, whose tokens are written by "
            "transformers: a model file calls generate() in its inference_step, and has mode infer"
        )
    words["mode"], of_task["task"] = Mode.INFER, Task.GENERATE


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRequest:
    """Holds the checked options. `alloc_confs`: the first is in force, the others compared with it.

    `speed_words` are for job_config, which may have to measure this machine.
    """

    target: Any
    functions: ModelFunctions
    given: tuple[tuple[str, Scalar], ...]
    config: StepConfig
    alloc_confs: tuple[str, ...]
    speed_words: Mapping[str, Any]
    gpu_memory: str | int | None
    reserve: str | int
    calibration: bool
    timeout_s: float
    database: Path | None
    progress: Progress
    cache: bool


def estimate_request(target: Any, **options: Unpack[EstimateOptions]) -> EstimateRequest:
    """Returns the request of these options.

    Raises:
        UsageError: an option does not exist, or does not take its value.
    """
    words: dict[str, Any] = dict(options)
    own = {name: words.pop(name) for name in _OF_THE_CARD if name in words}
    job_words, of_model = speed_words(words)
    alloc_confs = texts(own.get("alloc_conf"), "alloc_conf")
    model = model_request(
        target, **{**of_model, "alloc_conf": alloc_confs[0] if alloc_confs else None}
    )
    database = own.get("hardware_db")
    return EstimateRequest(
        target=model.target,
        functions=model.functions,
        given=model.given,
        config=model.config,
        alloc_confs=alloc_confs,
        speed_words=job_words,
        gpu_memory=own.get("gpu_memory"),
        reserve=own.get("reserve", 0),
        calibration=own.get("calibration", True),
        timeout_s=model.timeout_s,
        database=None if database is None else Path(database),
        progress=model.progress,
        cache=model.cache,
    )


def check_one_gpu(config: StepConfig) -> None:
    """Refuses a job on several GPUs, for a question that is about one.

    Raises:
        UsageError: says which question answers it.
    """
    if config.parallel is not None:
        raise UsageError(
            f"{config.parallel.gpus} GPUs were given (num_gpus, parallel), and this question is "
            "about one GPU: ask planner estimate, or leave them out"
        )


def request_with_one_setting(target: Any, **options: Unpack[CurveOptions]) -> EstimateRequest:
    """Returns the request of options that have one GPU and at most one setting of the allocator.

    Raises:
        UsageError: as for estimate_request, or there are several settings or several GPUs.
    """
    asked = request_of_a_job(target, **options)
    check_one_gpu(asked.config)
    return asked


def request_of_a_job(target: Any, **options: Unpack[EstimateOptions]) -> EstimateRequest:
    """Returns the request of options that have at most one setting of the allocator.

    Raises:
        UsageError: as for estimate_request, or there are several settings.
    """
    alloc_conf = options.get("alloc_conf")
    if not (alloc_conf is None or isinstance(alloc_conf, str)):
        raise UsageError(f"alloc_conf must be one text here, not {alloc_conf!r}")
    return estimate_request(target, **options)
