"""Arguments of a call that decide its kernel, beside the shapes of its tensors.

In: an operator with its arguments. Out: AttentionFacts, ConvolutionFacts. Convention: arguments are
found by their names in the operator's schema, so that attention of other libraries is known too
where it names its arguments as PyTorch or flash-attn does.
"""

from __future__ import annotations

from typing import Any

import torch

from planner.wire.kernel_facts import AttentionFacts, ConvolutionFacts

_PACKED, _WHOLE = 3, 4  # dimensions: (tokens, heads, width) and (batch, ..., width)
_BACKENDS = ("flash", "efficient", "cudnn", "flex")  # as in the names of operators


def attention_facts(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AttentionFacts | None:
    """Returns the facts of a call; None: it is not a fused attention."""
    name = func._schema.name
    if "attention" not in name and "attn" not in name:
        return None
    given = _named(func, args, kwargs)
    query, key, value = (
        _tensor(given, *names) for names in (("query", "q"), ("key", "k"), ("value", "v"))
    )
    if query is None or key is None or value is None:
        return None
    if {query.ndim, key.ndim, value.ndim} not in ({_PACKED}, {_WHOLE}):
        return None
    return _attention(name, given, query, key, value)


def _attention(
    name: str, given: dict[str, Any], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> AttentionFacts:
    starts = _tensor(given, "cum_seq_q", "cu_seqlens_q", "cu_seqlens_q_")
    # scaled_dot_product has heads before the tokens, the kernels' own operators after them.
    heads, tokens = (-3, -2) if "scaled_dot_product" in name else (-2, -3)
    batch = query.shape[0] if query.ndim == _WHOLE else 1
    queries, keys = query.shape[tokens], key.shape[tokens]
    if starts is not None:  # packed: the tokens of all sequences, one after another
        batch = max(1, starts.numel() - 1)
        queries = _of(given, "max_q", "max_seqlen_q") or queries
        keys = _of(given, "max_k", "max_seqlen_k") or keys
    window = _of(given, "window_size_left", "window_size")
    if isinstance(window, list | tuple):  # flash-attn's own: to the left, to the right
        window = window[0]
    return AttentionFacts(
        backend=next((word for word in _BACKENDS if word in name), name.rpartition("::")[2]),
        batch=batch,
        query_heads=query.shape[heads],
        key_heads=key.shape[heads],
        queries=int(queries),
        keys=int(keys),
        head_width=query.shape[-1],
        value_width=value.shape[-1],
        is_causal=bool(_of(given, "is_causal", "causal") or _of(given, "custom_mask_type") or 0),
        window=window if isinstance(window, int) and window > 0 else None,
        dropout=float(_of(given, "dropout_p") or 0.0),
        has_bias=_tensor(given, "attn_bias", "bias", "attn_mask") is not None,
    )


def convolution_facts(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ConvolutionFacts | None:
    """Returns the facts of a call; None: it is not a convolution."""
    if "convolution" not in func._schema.name:
        return None
    given = _named(func, args, kwargs)
    if not {"stride", "padding", "dilation", "groups"} <= given.keys():
        return None
    return ConvolutionFacts(
        stride=_sizes(given["stride"]),
        padding=_sizes(given["padding"]),
        dilation=_sizes(given["dilation"]),
        groups=int(given["groups"]),
        is_transposed=bool(given.get("transposed", "transpose" in func._schema.name)),
    )


def _named(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments by name, those with a default as well."""
    found = {}
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            found[argument.name] = args[position]
        elif argument.name in kwargs:
            found[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def _of(given: dict[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if name in given), None)


def _tensor(given: dict[str, Any], *names: str) -> torch.Tensor | None:
    found = _of(given, *names)
    return found if isinstance(found, torch.Tensor) else None


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(int(one) for one in value) if isinstance(value, list | tuple) else (int(value),)
