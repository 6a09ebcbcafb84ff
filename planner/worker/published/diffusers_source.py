"""A denoiser of diffusers as the callables of a target.

In: Target, PublishedModel. Out: ModelSource. Convention: latents are an eighth of the image on each
side; the loss is the mean square of output and noise, as in the training scripts of diffusers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import diffusers
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import nn

from planner.config.published import PublishedModel
from planner.config.target import Target
from planner.errors import UsageError, WrongTargetError
from planner.worker.published.adapters import adapter_words, freeze, import_peft, with_adapters
from planner.worker.published.constructing import built_in, known_keys
from planner.worker.published.latents import latent_batch
from planner.worker.published.vision import dtype_named
from planner.worker.target.source import ModelSource

# The modules with adapters in the training scripts of diffusers (examples/text_to_image).
_LORA_TARGETS = ("to_k", "to_q", "to_v", "to_out.0")


def diffusers_source(target: Target, model: PublishedModel) -> ModelSource:
    """Returns the denoiser, its batch and its step for the task.

    Raises:
        WrongTargetError: diffusers has no such class, or its inputs are not known here.
    """
    task, dtype = model.task, dtype_named(model.dtype)
    if task.weights_quant is not None:
        raise UsageError("a denoiser is not quantised here: leave --quant out, or use --task lora")
    values = {**json.loads(model.config), **dict(target.arguments)}
    name = values["_class_name"]
    made = getattr(diffusers, name, None)
    if made is None:
        raise WrongTargetError(
            f"diffusers {diffusers.__version__} has no class {name!r} ({model.name})"
        )
    batch = latent_batch(name, made, values, task, dtype)
    targets = task.lora_targets or _LORA_TARGETS
    if task.task.has_adapters:
        import_peft()

    def build_model() -> nn.Module:
        with built_in(dtype):
            built: nn.Module = made.from_config(known_keys(made, values))
        if task.task.has_adapters:
            built.requires_grad_(False)
            built = with_adapters(built, task, peft_task=None, targets=targets)
        freeze(built, task.freeze)
        return built

    return ModelSource(
        build_model=build_model,
        build_batch=batch.build,
        training_step=_training_step,
        label=target.label,
        settles_dtypes=True,
        assumptions=(
            *filter(None, (model.origin,)),
            f"model: {name} of diffusers {diffusers.__version__}, from its config alone; the "
            "encoders of text and image are not on the card",
            *(
                (adapter_words(task, targets, "as in the scripts of diffusers"),)
                if task.task.has_adapters
                else ()
            ),
            *batch.assumptions,
        ),
    )


def _training_step(model: nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    output = model(**batch, return_dict=False)[0]
    return F.mse_loss(output.float(), torch.zeros_like(output, dtype=torch.float32))
