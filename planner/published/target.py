"""Makes the Target of a published model, and the words of its step.

In: the target and the options in the caller's words. Out: SettledModel. Convention: a word of the
caller comes before a habit of the training program that the task is like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.config.habits import HABITS
from planner.config.parse import choice
from planner.config.published import Library, PublishedModel, Task, TaskConfig
from planner.config.scalars import Scalar
from planner.config.step import Mode, Precision
from planner.config.target import Target, TargetKind
from planner.published.lookup import FoundConfig, find_config
from planner.published.names import NamedModel
from planner.published.packages import check_packages
from planner.published.pipelines import find_document
from planner.published.words import task_config

_DTYPES = {
    Precision.FP32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
    Precision.AMP_FP16: "float32",
    Precision.AMP_BF16: "float32",
}
_AUTOCAST = {Precision.AMP_FP16: "float16", Precision.AMP_BF16: "bfloat16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledModel:
    """The target of a published model, and the words of its step.

    `given` are its arguments and its task, as a result shows them.
    """

    target: Target
    step_words: Mapping[str, Any]
    given: tuple[tuple[str, Scalar], ...]


def settle(
    text: str,
    model: NamedModel,
    step_words: Mapping[str, Any],
    task_words: Mapping[str, Any],
    given: tuple[tuple[str, Scalar], ...],
) -> SettledModel:
    """Returns the target of `model`, which `text` names, like `hf:org/name`.

    Raises:
        UsageError: an option that contradicts the task.
        WrongTargetError: no config of that model is found, or it is none.
    """
    mode = choice(Mode, step_words.get("mode") or Mode.TRAIN, "mode")
    task = task_config(task_words, model.library, infers=mode is Mode.INFER)
    check_packages(model.library, task)
    found = _config_of(model, task)
    words = _with_habits(step_words, task)
    named, precision = _precision_of(step_words), _precision_of(words)
    published = PublishedModel(
        library=model.library,
        name=model.name,
        config=found.text,
        origin=found.origin,
        dtype=None if named is None else _DTYPES.get(named),
        autocast=None if precision is None else _AUTOCAST.get(precision),
        task=task,
    )
    target = Target(kind=TargetKind.LIBRARY, location=text, arguments=given, published=published)
    return SettledModel(target=target, step_words=words, given=(*given, *task.given()))


def _config_of(model: NamedModel, task: TaskConfig) -> FoundConfig:
    if model.library is Library.DIFFUSERS and task.task is Task.GENERATE:
        return find_document(model)
    if model.library in (Library.TRANSFORMERS, Library.DIFFUSERS):
        return find_config(model)
    return FoundConfig(text="", origin="")


def _with_habits(step_words: Mapping[str, Any], task: TaskConfig) -> dict[str, Any]:
    words = dict(step_words)
    if not task.task.trains:
        words["mode"] = Mode.INFER
        return words
    habits = HABITS[task.like]
    if words.get("precision") is None and habits.precision is not None:
        words["precision"] = habits.precision
    if words.get("optimizer") is None:
        words["optimizer"] = habits.optimizer
    if habits.checkpoints:
        words["checkpoint_activations"] = True
    return words


def _precision_of(words: Mapping[str, Any]) -> Precision | None:
    given = words.get("precision")
    return None if given is None else choice(Precision, given, "precision")
