"""Dtypes and memory formats of a run: casts of model and batch, autocast, GradScaler.

In: StepConfig and the device. Out: the model or tensor cast, context managers. Convention: fp16
and bf16 cast what is floating; amp-* leave the weights in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from planner.workload import Mode, Precision, StepConfig

_WEIGHTS = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}
_AUTOCAST = {Precision.AMP_FP16: torch.float16, Precision.AMP_BF16: torch.bfloat16}


def cast_model(model: nn.Module, config: StepConfig) -> nn.Module:
    """Cast floating parameters and buffers, and bring weights of convolutions to channels_last."""
    dtype = _WEIGHTS.get(config.precision)
    if dtype is not None:
        model.to(dtype)
    if config.channels_last:
        apply: Any = model._apply  # untyped in torch
        apply(_channels_last)
    return model


def cast_tensor(tensor: torch.Tensor, config: StepConfig) -> torch.Tensor:
    """The same for one tensor of the batch."""
    dtype = _WEIGHTS.get(config.precision)
    if dtype is not None and tensor.is_floating_point():
        tensor = tensor.to(dtype)
    return _channels_last(tensor) if config.channels_last else tensor


def autocast(
    config: StepConfig, device: torch.device
) -> Callable[[], AbstractContextManager[object]]:
    """A factory of the context around forward and loss: autocast for amp-*, else nothing."""
    dtype = _AUTOCAST.get(config.precision)
    if dtype is None:
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


def grad_scaler(
    config: StepConfig, device: torch.device, *, real_values: bool = False
) -> torch.amp.GradScaler | None:
    """The GradScaler of amp-fp16 in training, None otherwise."""
    if config.precision is not Precision.AMP_FP16 or config.mode is not Mode.TRAIN:
        return None
    if real_values:
        # Real gradients overflow under the default of 65536: their steps are skipped, and the
        # optimizer's state is born some steps later. The memory is the same.
        return torch.amp.GradScaler(device.type, init_scale=1.0)
    return torch.amp.GradScaler(device.type)


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dim() == 4:
        return tensor.to(memory_format=torch.channels_last)
    if tensor.dim() == 5:
        return tensor.to(memory_format=torch.channels_last_3d)
    return tensor
