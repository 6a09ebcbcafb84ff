"""Checks the caller's words for the task of a published model.

In: keyword options such as {"task": "lora", "lora_rank": 16}. Out: TaskConfig.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from planner.config.generation import KvCache
from planner.config.option_words import option_of
from planner.config.parse import choice
from planner.config.published import (
    Attention,
    Decoding,
    Library,
    Like,
    Quant,
    Task,
    TaskConfig,
)
from planner.errors import UsageError
from planner.published.names import FORMS

NAMES = tuple(field.name for field in fields(TaskConfig))
_CHOICES: Mapping[str, type[Enum]] = {
    "task": Task, "quant": Quant, "attention": Attention, "like": Like, "kv_cache": KvCache,
}  # fmt: skip
_COUNTS = ("lora_rank", "lora_alpha", "frames", "new_tokens", "num_beams", "denoise_steps")
_OF_GENERATE = ("new_tokens", "num_beams", "kv_cache")
_OF_ADAPTERS = ("lora_rank", "lora_alpha", "lora_targets")
# The tasks of libraries whose models have no tokens, and the words for their models.
_TASKS: Mapping[Library, tuple[Task, ...]] = {
    Library.TIMM: (Task.PRETRAIN, Task.FINETUNE, Task.EMBED, Task.INFER),
    Library.TORCHVISION: (Task.PRETRAIN, Task.FINETUNE, Task.EMBED, Task.INFER),
    Library.DIFFUSERS: (
        Task.PRETRAIN,
        Task.FINETUNE,
        Task.LORA,
        Task.QLORA,
        Task.GENERATE,
        Task.INFER,
    ),
}


def task_config(words: Mapping[str, Any], library: Library, *, infers: bool) -> TaskConfig:
    """Returns the task of these words; `infers`: the mode is infer, so the task is, too.

    Raises:
        UsageError: a value that an option does not take, an option without its task, or a task
            that models of the library cannot do.
    """
    values = {name: _value(name, value) for name, value in words.items() if value is not None}
    values.setdefault("task", Task.INFER if infers else Task.FINETUNE)
    config = TaskConfig(**values)
    _check_together(config, words, library)
    if infers and config.task.trains:
        raise UsageError(
            f"--task {config.task.value} trains, and mode is infer: leave one of the two out"
        )
    possible = _TASKS.get(library, tuple(Task))
    if config.task not in possible:
        known = ", ".join(one.value for one in possible)
        raise UsageError(
            f"a model of {library.name.lower()} has no task {config.task.value}; it has {known}"
        )
    return config


def refuse_task_words(task_words: Mapping[str, Any], target: object) -> None:
    """Refuses options of a task for a target that is no published model.

    Raises:
        UsageError: one was given.
    """
    for name in NAMES:
        if task_words.get(name):
            raise UsageError(
                f"{name} was given ({option_of(name)}), which belongs to a published model, and "
                f"the target is {target}; targets of that kind are {', '.join(FORMS)}"
            )


def _check_together(config: TaskConfig, words: Mapping[str, Any], library: Library) -> None:
    for name in _OF_ADAPTERS:
        if words.get(name) and not config.task.has_adapters:
            raise UsageError(
                f"{name} was given ({option_of(name)}), and the task is {config.task.value}: "
                "adapters belong to --task lora or qlora"
            )
    if config.quant is not None and config.task is not Task.QLORA and config.task.trains:
        keeps = "keeps its frozen weights as they are" if config.task.has_adapters else (
            "trains all weights, and quantised ones stay frozen"
        )  # fmt: skip
        raise UsageError(
            f"quant {config.quant.value} was given (--quant), and the task {config.task.value} "
            f"{keeps}: --quant belongs to --task qlora, infer, embed or generate"
        )
    if config.like is Like.TRL and library is not Library.TRANSFORMERS:
        raise UsageError(
            "--like trl stands for the training of a language model of transformers, and this "
            f"model is one of {library.package}: use --like trainer or loop"
        )
    _check_generation(config, words, library)
    for name in _OF_GENERATE:
        if words.get(name) and config.task is not Task.GENERATE:
            raise UsageError(
                f"{name} was given ({option_of(name)}), and the task is {config.task.value}: it "
                "belongs to --task generate"
            )


def _check_generation(config: TaskConfig, words: Mapping[str, Any], library: Library) -> None:
    """Refuses words of a pipeline elsewhere, and words of language models for a pipeline."""
    is_pipeline = library is Library.DIFFUSERS and config.task is Task.GENERATE
    of_pipelines = (
        ("denoise_steps", config.denoise_steps),
        ("vae", config.vae),
        ("attention", config.attention if config.attention is Attention.SLICED else None),
    )
    for name, value in of_pipelines:
        if value and not is_pipeline:
            raise UsageError(
                f"{name} was given ({option_of(name)}), which belongs to a pipeline that makes "
                "images: diffusers:NAME with --task generate"
            )
    for name in _OF_GENERATE:
        if is_pipeline and words.get(name):
            raise UsageError(
                f"{name} was given ({option_of(name)}), and a pipeline of diffusers writes no "
                "tokens: leave it out; its steps are --denoise-steps"
            )


def _value(name: str, value: Any) -> Any:
    if name in _CHOICES:
        return choice(_CHOICES[name], value, name)
    if name in _COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}")
        return value
    if name == "image":
        return _image(value)
    if name == "vae":
        return _decoding(value)
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (tuple, list)) or not all(isinstance(one, str) for one in texts):
        raise UsageError(f"{name} must be text or a list of texts, not {value!r}")
    return tuple(part.strip() for one in texts for part in one.split(",") if part.strip())


def _decoding(value: Any) -> tuple[Decoding, ...]:
    """Returns the words of "slicing,tiling" or of a list, in the order of Decoding."""
    given = value.split(",") if isinstance(value, str) else value
    if isinstance(given, Decoding):
        given = (given,)
    found = {
        choice(Decoding, one.strip() if isinstance(one, str) else one, "vae")
        for item in given
        for one in (item.split(",") if type(item) is str else (item,))
    }
    return tuple(one for one in Decoding if one in found)


def _image(value: Any) -> tuple[int, int]:
    """Returns height and width of "1024x768" or (1024, 768), or of one number for both."""
    if isinstance(value, (tuple, list)):
        value = "x".join(map(str, value))
    match = re.fullmatch(r"([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?", str(value).strip().lower())
    if match is None:
        raise UsageError(f"image {value!r} is no size: write 1024x1024 (height x width), or 512")
    return int(match[1]), int(match[2] or match[1])
