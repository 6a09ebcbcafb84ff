"""The step of a published model, with the habits of a training program.

In: Habits. Out: a training_step, and the switch of activation checkpointing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from planner.config.habits import Habits
from planner.errors import WrongTargetError


def training_step(habits: Habits, *, is_autocast: bool) -> Callable[..., Any] | None:
    """Returns the step up to the loss; None: planner's own loop, which holds the output.

    Under autocast accelerate converts the outputs to float32 (convert_outputs_to_fp32 in
    accelerate/utils/operations.py): a copy of the logits.
    """
    if habits.fuses_head:
        return _loss_of_fused_head
    if habits.holds_output:
        return None
    return _loss_of_converted if is_autocast else _loss


def _loss(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    return model(**batch)["loss"]


def fuse_head(model: nn.Module) -> None:
    """Gives the model the head of trl that computes the loss without whole logits.

    Raises:
        WrongTargetError: the installed trl has none.
    """
    from trl.trainer import utils

    add = getattr(utils, "add_fused_lm_head", None)
    if add is None:
        raise WrongTargetError(
            "the installed trl computes the loss from whole logits, as the Trainer does, and "
            "--like trl stands for a later one: update trl, or use --like trainer"
        )
    has_adapters = hasattr(model, "peft_config")
    base: Any = model.get_base_model() if has_adapters else model  # type: ignore[operator] # of peft
    add(base, outputs=("log_probs", "entropy", "is_top1"))


def _loss_of_fused_head(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    """Computes the loss as SFTTrainer.compute_loss does, with its metrics."""
    outputs = model(**batch, fused_lm_head=True)
    losses = -outputs.log_probs
    loss = losses.sum() / outputs.label_mask.sum().clamp(min=1)
    outputs.entropy.detach().sum()
    outputs.is_top1.sum()
    return loss


def _loss_of_converted(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    outputs = _in_float32(model(**batch))
    return outputs["loss"]


def _in_float32(outputs: Any) -> Any:
    """Returns the same structure with 16-bit tensors in float32."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
    if isinstance(outputs, Mapping):
        return {key: _in_float32(value) for key, value in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        return type(outputs)(_in_float32(value) for value in outputs)
    return outputs


def checkpoint_transformers(model: nn.Module) -> str:
    """Switches activation checkpointing on as Trainer does; returns how.

    Beside frozen weights the input of the first block has no gradient; as peft and trl do, the
    embeddings' output gets one.
    """
    switchable: Any = model
    if hasattr(model, "peft_config") and hasattr(model, "enable_input_require_grads"):
        switchable.enable_input_require_grads()
    options = {"use_reentrant": False}
    enable = getattr(model, "activation_checkpointing_enable", None)
    if enable is not None:
        enable(activation_checkpointing_kwargs=options)
    else:
        switchable.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    return "that of transformers (use_reentrant=False)"
