"""Records which attention backend each scaled_dot_product_attention call ran on.

In: the calls of the user's model. Out: names ("flash", "efficient", "cudnn", "math"). Convention:
only tensors on a CUDA device are examined; nothing is allocated, and nothing raises.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name

# torch.nn.attention.SDPBackend
_NAMES = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn", 4: "overrideable"}

_DEVICE = "cuda"

_backends: Any = torch.backends.cuda  # untyped in torch
_original = F.scaled_dot_product_attention
_seen: dict[tuple[Any, ...], str | None] = {}


def install() -> None:
    """Replaces torch's function by the recording one, before the user's file is imported."""
    if F.scaled_dot_product_attention is _recording_attention:
        return
    F.scaled_dot_product_attention = _recording_attention
    with suppress(Exception):  # torch.jit.script must still know it as the builtin
        torch.jit._builtins._register_builtin(
            _recording_attention, "aten::scaled_dot_product_attention"
        )


def recorded() -> tuple[str, ...]:
    """Returns the names of the backends that ran since `reset`, sorted."""
    return tuple(sorted({name for name in _seen.values() if name is not None}))


def reset() -> None:
    """Forgets every call."""
    _seen.clear()


@functools.wraps(_original)
def _recording_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    if not torch.compiler.is_compiling():
        with suppress(Exception):
            _record(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    return _original(
        query,
        key,
        value,
        attn_mask=attn_mask,
        dropout_p=dropout_p,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
    )


def _record(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    causal: bool,
    scale: float | None,
    grouped: bool,
) -> None:
    if query.device.type != _DEVICE:
        return
    dtype = _dtype_after_autocast(query)
    call = (
        dtype,
        dropout,
        causal,
        scale,
        grouped,
        torch.is_grad_enabled(),
        _backends.flash_sdp_enabled(),
        _backends.mem_efficient_sdp_enabled(),
        _backends.math_sdp_enabled(),
        _backends.cudnn_sdp_enabled(),
        *(_layout(tensor) for tensor in (query, key, value, mask)),
    )
    if call in _seen:
        return
    _seen[call] = None
    choice = torch._fused_sdp_choice(
        _as_dtype(query, dtype),
        _as_dtype(key, dtype),
        _as_dtype(value, dtype),
        attn_mask=mask if mask is None or mask.dtype is torch.bool else _as_dtype(mask, dtype),
        dropout_p=dropout,
        is_causal=causal,
        scale=scale,
        enable_gqa=grouped,
    )
    _seen[call] = _NAMES.get(choice)


def _layout(tensor: torch.Tensor | None) -> tuple[Any, ...] | None:
    if tensor is None:
        return None
    return (tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad)


def _dtype_after_autocast(tensor: torch.Tensor) -> torch.dtype:
    """Returns the dtype after autocast, which casts the arguments below this function."""
    if not torch.is_autocast_enabled(_DEVICE) or tensor.dtype is torch.float64:
        return tensor.dtype
    return torch.get_autocast_dtype(_DEVICE)


def _as_dtype(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns a view of the tensor's storage in `dtype`; its values are never read."""
    if tensor.dtype is dtype:
        return tensor
    view = torch.empty(0, dtype=dtype, device=tensor.device)
    view.set_(tensor.untyped_storage(), 0, tensor.shape, tensor.stride())
    return view.requires_grad_(tensor.requires_grad)
