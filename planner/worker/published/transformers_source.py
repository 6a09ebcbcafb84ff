"""A model of transformers as the callables of a target.

In: Target, PublishedModel. Out: ModelSource. Convention: the class is that of transformers for the
kind of the model and the task, built from the config alone.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn
from transformers import __version__ as version
from transformers import masking_utils

from planner.config.habits import HABITS
from planner.config.published import PublishedModel, Task, TaskConfig
from planner.config.target import Target
from planner.errors import WrongTargetError
from planner.worker.published.adapters import (
    adapter_words,
    freeze,
    import_peft,
    usual_targets,
    with_adapters,
)
from planner.worker.published.batches import batches
from planner.worker.published.generation import (
    drop_masks,
    generation_step,
    generation_words,
    prompt_batches,
)
from planner.worker.published.kinds import Kind, auto_class, class_of, kind_of
from planner.worker.published.quantisation import (
    import_bitsandbytes,
    quantised,
)
from planner.worker.published.steps import checkpoint_transformers, fuse_head, training_step
from planner.worker.published.ties import untie_as_published
from planner.worker.published.transformers_config import transformers_config
from planner.worker.target.source import ModelSource

_UNQUANTISED = (
    "weights: its config says that they are published quantised; here they are not, as training "
    "wants them (--quant quantises)"
)
_PEFT_TASKS = {Kind.CAUSAL: "CAUSAL_LM", Kind.SEQ2SEQ: "SEQ_2_SEQ_LM", Kind.MASKED: "SEQ_CLS"}


def transformers_source(target: Target, model: PublishedModel) -> ModelSource:
    """Returns the model, its batch and its step for the task.

    Raises:
        WrongTargetError: transformers has no class for it, or it cannot do the task.
    """
    task, habits = model.task, HABITS[model.task.like]
    keys = json.loads(model.config)
    config = transformers_config(model.name, keys, dict(target.arguments))
    kind = kind_of(config, model.name)
    model_class = class_of(auto_class(kind, config, task.task), config)
    targets: tuple[str, ...] = ()
    if task.task.has_adapters:
        import_peft()
        targets = task.lora_targets or usual_targets(config.model_type)
    dtype = _dtype(model, config)
    _settle(config, task)
    made = batches(kind, config, task, dtype)

    quant = task.weights_quant
    if quant is not None:
        import_bitsandbytes()
    fuses = _fuses_head(model, kind)

    def build_model() -> nn.Module:
        built: nn.Module = model_class._from_config(config, dtype=dtype)
        untie_as_published(built, {**keys, **dict(target.arguments)})
        if quant is not None:
            built = quantised(built, quant, dtype=dtype, compute=_compute(model, dtype))
        if task.task.has_adapters:
            built = with_adapters(
                built,
                task,
                peft_task=_PEFT_TASKS.get(kind),
                in_bfloat16=habits.adapters_bfloat16 and quant is not None,
                targets=targets,
            )
        freeze(built, task.freeze)
        if fuses:
            fuse_head(built)
        if generates:
            drop_masks(built)
        return built

    generates = task.task is Task.GENERATE
    name = f"{model_class.__name__} of transformers {version}"
    return ModelSource(
        build_model=build_model,
        build_batch=prompt_batches(made.build) if generates else made.build,
        training_step=training_step(habits, is_autocast=model.autocast is not None),
        inference_step=generation_step(task) if generates else None,
        label=target.label,
        checkpoint=checkpoint_transformers,
        settles_dtypes=True,
        assumptions=(
            *filter(None, (model.origin,)),
            f"model: {name}, from its config alone, in {_name(dtype)}",
            *((_UNQUANTISED,) if keys.get("quantization_config") else ()),
            *((adapter_words(task, targets),) if targets else ()),
            *made.assumptions,
            *((habits.words(quantised=quant is not None),) if task.task.trains else ()),
            *((generation_words(task),) if generates else ()),
        ),
    )


def _fuses_head(model: PublishedModel, kind: Kind) -> bool:
    """Returns whether the training has its head and its loss in one function.

    Raises:
        WrongTargetError: so it has, and the model is no language model.
    """
    task = model.task
    if not (task.task.trains and HABITS[task.like].fuses_head):
        return False
    if kind is not Kind.CAUSAL:
        raise WrongTargetError(
            f"{model.name} is a {kind.value}, and --like {task.like.value} stands for the training "
            "of a language model: leave it out, or use --like trainer"
        )
    return True


def _settle(config: Any, task: TaskConfig) -> None:
    """Sets what the task decides of a config, and of transformers for its batches."""
    if task.attention is not None:
        config._attn_implementation = task.attention.value
    if task.task.trains and hasattr(config, "use_cache"):
        config.use_cache = False  # Trainer's use_cache is False (transformers/trainer.py)
    _samples_are_not_packed()


def _samples_are_not_packed() -> None:
    """Answers for transformers 5 that no sample is packed, which it would read from the card.

    Without a mask it looks for places where positions start again; the batches here have none.
    transformers 4 makes a mask from the answer without a look at it, and keeps its function.
    """
    original = getattr(masking_utils, "find_packed_sequence_indices", None)
    if original is not None and original(torch.arange(2)[None]) is None:
        masking_utils.find_packed_sequence_indices = lambda position_ids: None


def _compute(model: PublishedModel, dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of the products of 4-bit weights: that of autocast, else of the rest."""
    if model.autocast is None:
        return dtype
    return torch.float16 if model.autocast == "float16" else torch.bfloat16


def _dtype(model: PublishedModel, config: Any) -> torch.dtype:
    """Returns the dtype of the weights: the requested one, else the published, else float32."""
    published = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    named = model.dtype or published or "float32"
    found: torch.dtype = getattr(torch, named) if isinstance(named, str) else named
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
