"""Dtypes and memory formats of a run: casts of model and batch, autocast, GradScaler.

In: StepConfig and the device. Out: the model or tensor cast, context managers. Convention: fp32,
fp16 and bf16 cast floating-point tensors; as-built and amp-* leave every tensor as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.units import format_bytes
from planner.worker.ranks import dtensors

_WEIGHTS = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}
_AUTOCAST = {Precision.AMP_FP16: torch.float16, Precision.AMP_BF16: torch.bfloat16}
# Smaller buffers of another dtype (tables of positions, running sums) change no figure that counts.
_LEAST_BUFFER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The sentences on a cast: an assumption, or a warning if it unifies different dtypes."""

    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def cast_model(model: nn.Module, config: StepConfig, *, keep_dtypes: bool = False) -> Cast:
    """Casts floating parameters and buffers; brings weights of convolutions to channels_last.

    With `keep_dtypes` nothing is cast: the model was built for this precision.
    """
    dtype = None if keep_dtypes else _weights_of(config)
    cast = Cast()
    if dtype is not None:
        floating = list(_floating(model))
        cast = _cast(floating, dtype, config.precision_name)
        if dtype is not torch.float32:
            model.to(dtype)
        elif any(tensor.dtype is not dtype for _, tensor in floating):
            model.float()
    if config.channels_last:
        apply: Any = model._apply  # untyped in torch
        apply(_channels_last)
    return cast


def _weights_of(config: StepConfig) -> torch.dtype | None:
    """Returns the dtype that weights and batch are cast to; None where they stay as they are."""
    return None if config.precision is None else _WEIGHTS.get(config.precision)


def _floating(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields floating parameters, and buffers of some size, with their names.

    Skips parameters that have a `.to()` of their own: quantised ones change their dtype only when
    they reach the card.
    """
    for name, parameter in model.named_parameters():
        own: Any = type(parameter).to
        if parameter.is_floating_point() and own is torch.Tensor.to:
            yield name, parameter
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and _bytes(buffer) >= _LEAST_BUFFER_BYTES:
            yield name, buffer


def _cast(floating: Sequence[tuple[str, torch.Tensor]], dtype: torch.dtype, precision: str) -> Cast:
    """Describes the effect of a cast to `dtype`; empty for a model that is float32 throughout."""
    ordered = sorted(floating, key=lambda item: str(item[1].dtype))
    groups = [
        (source, list(group)) for source, group in groupby(ordered, key=lambda item: item[1].dtype)
    ]
    others = [(source, group) for source, group in groups if source is not dtype]
    if len(groups) == 1 and others:
        ((source, _),) = others
        if source is torch.float32:
            return Cast()
        said = (
            f"the model file builds its weights in {_name(source)}; they were cast to "
            f"{_name(dtype)} (--precision {precision}; as-built keeps them)"
        )
        return Cast(assumptions=(said,), notes=(said,))
    return Cast(warnings=tuple(_mixed(source, group, dtype) for source, group in others))


def _mixed(
    source: torch.dtype, group: Sequence[tuple[str, torch.Tensor]], dtype: torch.dtype
) -> str:
    size = format_bytes(sum(_bytes(tensor) for _, tensor in group))
    tensors, were = ("tensor", "was") if len(group) == 1 else ("tensors", "were")
    return (
        f"{len(group)} {_name(source)} {tensors} ({size}; first {group[0][0]}) {were} cast to "
        f"{_name(dtype)}; a run that keeps them needs --precision as-built"
    )


def _bytes(tensor: torch.Tensor) -> int:
    if is_lazy(tensor):
        return 0  # it has no shape yet
    return tensor.numel() * tensor.element_size()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def weight_dtypes(model: nn.Module) -> tuple[WeightDtype, ...]:
    """Returns the parameters by their stored dtype, most bytes first; a tied one counts once."""
    stored = [inner for parameter in model.parameters() for inner in _stored(parameter)]
    found = []
    for dtype in dict.fromkeys(tensor.dtype for tensor in stored):
        alike = [tensor for tensor in stored if tensor.dtype is dtype]
        found.append(
            WeightDtype(
                dtype=_name(dtype),
                elements=sum(tensor.numel() for tensor in alike),
                size_bytes=sum(_bytes(tensor) for tensor in alike),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.size_bytes))


def _stored(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields the tensors within a wrapper (a quantised weight); any other tensor itself."""
    flatten: Any = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None or dtensors.is_divided(tensor):
        yield tensor
        return
    for name in flatten()[0]:
        yield from _stored(getattr(tensor, name))


def cast_tensor(tensor: torch.Tensor, config: StepConfig) -> torch.Tensor:
    """Casts one tensor of the batch in the same way."""
    dtype = _weights_of(config)
    if dtype is not None and tensor.is_floating_point():
        tensor = tensor.to(dtype)
    return _channels_last(tensor) if config.channels_last else tensor


def autocast(
    config: StepConfig, device: torch.device
) -> Callable[[], AbstractContextManager[object]]:
    """Returns a factory of the context for forward and loss: autocast for amp-*, else none."""
    dtype = None if config.precision is None else _AUTOCAST.get(config.precision)
    if dtype is None:
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


def grad_scaler(
    config: StepConfig, device: torch.device, *, real_values: bool = False
) -> torch.amp.GradScaler | None:
    """Returns the GradScaler of amp-fp16 in training, None otherwise."""
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
