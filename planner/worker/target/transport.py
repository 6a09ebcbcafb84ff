"""Live objects of the caller, packed for the child: the structure travels, not the weights.

In: a model or builder and its functions. Out: bytes, and the same objects again in the child.
Convention: parameters and buffers lose their values and arrive as meta tensors; another tensor
(a captured batch, class weights) keeps its values up to 64 KiB, or 64 MiB where they are integers,
and arrives as zeros if it is larger.
"""

from __future__ import annotations

import io
import mmap
import pickle
import sys
from collections.abc import Callable
from typing import Any, cast

import cloudpickle  # type: ignore[import-untyped]  # it has no type hints
import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from planner.errors import ModelError, TargetError
from planner.worker.target.frames import first_line

VALUES_LIMIT_BYTES = 64 << 10
INTEGERS_LIMIT_BYTES = 64 << 20  # ids, edges and masks decide what a step does

_HOOK_STATE = ("_backward_hooks", "_post_accumulate_grad_hooks")


def pack(
    model: object,
    build_batch: Callable[..., Any] | None = None,
    training_step: Callable[..., Any] | None = None,
    build_optimizer: Callable[..., Any] | None = None,
    inference_step: Callable[..., Any] | None = None,
) -> bytes:
    """Returns the caller's objects as bytes: kilobytes for a model of any size.

    Raises:
        TargetError: something in them cannot be sent to another process.
    """
    sent = {
        "model_or_builder": model,
        "build_batch": build_batch,
        "training_step": training_step,
        "build_optimizer": build_optimizer,
        "inference_step": inference_step,
    }
    try:
        payload = _dump(sent, model)
    except Exception as error:
        raise TargetError(
            f"the model or one of its functions cannot be sent to the child process "
            f"({first_line(error)}); pass a function that builds the model, or a model file"
        ) from error
    # modules that were imported here by name must be importable there before the payload is read
    return pickle.dumps({"search_path": tuple(sys.path), "payload": payload})


def unpack(data: bytes) -> dict[str, Any]:
    """Returns the dict that `pack` made: model_or_builder, and the functions by name.

    Raises:
        ModelError: a module that the objects come from cannot be imported here.
    """
    envelope = pickle.loads(data)
    sys.path.extend(entry for entry in envelope["search_path"] if entry not in sys.path)
    try:
        return cast("dict[str, Any]", pickle.loads(envelope["payload"]))
    except Exception as error:
        raise ModelError(
            f"the model sent cannot be restored in the child process: {first_line(error)}"
        ) from error


def structure_copy(model: nn.Module) -> nn.Module:
    """Returns a copy of `model` without weights; the model itself where it cannot be copied."""
    try:
        return cast(nn.Module, pickle.loads(_dump(model, model)))
    except Exception:
        return model


def _dump(what: object, model: object) -> bytes:
    buffer = io.BytesIO()
    _StructurePickler(buffer, model).dump(what)
    return buffer.getvalue()


class _StructurePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    """cloudpickle, with tensors reduced to their structure; its memo keeps ties."""

    def __init__(self, file: io.BytesIO, model: object) -> None:
        super().__init__(file)
        state = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()
        self._state_ids = {id(tensor) for tensor in state}

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, torch.Tensor) or isinstance(
            obj, (UninitializedParameter, UninitializedBuffer)
        ):
            return super().reducer_override(obj)
        if isinstance(obj, nn.Parameter):
            attributes = {key: v for key, v in vars(obj).items() if key not in _HOOK_STATE}
            return _parameter, (type(obj), *_structure(obj), obj.requires_grad, attributes)
        if id(obj) in self._state_ids or obj.device.type == "meta":
            return _meta, _structure(obj)
        if obj.layout is not torch.strided:  # no strides, and it is small by its nature
            return super().reducer_override(obj.detach().cpu())
        if obj.device.type == "cpu" and _is_small(obj):
            return super().reducer_override(obj.detach())
        return _zeros, (*_structure(obj), obj.requires_grad and obj.is_leaf)


def _is_small(tensor: torch.Tensor) -> bool:
    is_float = tensor.is_floating_point() or tensor.is_complex()
    limit_bytes = VALUES_LIMIT_BYTES if is_float else INTEGERS_LIMIT_BYTES
    return tensor.untyped_storage().nbytes() <= limit_bytes


def _structure(tensor: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...], torch.dtype]:
    return tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype


def _meta(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


def _parameter(
    kind: type[nn.Parameter],
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    dtype: torch.dtype,
    requires_grad: bool,
    attributes: dict[str, Any],
) -> nn.Parameter:
    parameter = nn.Parameter(_meta(shape, stride, dtype), requires_grad=requires_grad)
    if kind is not nn.Parameter:
        parameter.__class__ = kind
    parameter.__dict__.update(attributes)
    return parameter


def _zeros(
    shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, requires_grad: bool
) -> torch.Tensor:
    """Returns zeros in pages that cost memory only when they are touched."""
    reach = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if 0 in shape:
        return torch.empty_strided(shape, stride, dtype=dtype)
    pages = mmap.mmap(-1, reach * dtype.itemsize)
    flat = torch.frombuffer(pages, dtype=dtype, count=reach)
    return flat.as_strided(shape, stride).requires_grad_(requires_grad)
