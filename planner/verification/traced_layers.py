"""Rules of operators that layers are made of: norms, convolutions, attention, pooling, losses.

In: Arguments. Out: Result, by the name of an operator of aten.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from planner.verification.traced_arguments import Arguments, NoRuleError
from planner.verification.traced_result import Result, Rule, as_first, as_second
from planner.wire.kernel_facts import AttentionFacts
from planner.wire.trace import TensorShape


def _like(tensor: TensorShape, dtype: str | None = None) -> TensorShape:
    return tensor if dtype is None else replace(tensor, dtype=dtype)


def _softmax(arguments: Arguments) -> Result:
    given = arguments.tensor(0)
    return Result(outputs=(_like(given, "float32" if arguments.flag(2) else None),))


def _statistics(*sizes: int, dtype: str = "float32") -> TensorShape:
    return TensorShape(shape=sizes, dtype=dtype)


def _layer_norm(arguments: Arguments) -> Result:
    given, normed = arguments.tensor(0), len(arguments.numbers(1))
    rows = given.shape[: len(given.shape) - normed] + (1,) * normed
    return Result(outputs=(given, _statistics(*rows), _statistics(*rows)))


def _rms_norm(arguments: Arguments) -> Result:
    return Result(outputs=_layer_norm(arguments).outputs[:2])


def _group_norm(arguments: Arguments) -> Result:
    given = arguments.tensor(0)
    groups = _statistics(given.shape[0], int(arguments.number(6)))
    return Result(outputs=(given, groups, groups))


def _norm_backward(first_weight: int) -> Rule:
    """Returns the rule of a norm's gradients: of its input (argument 1), weight and bias."""

    def rule(arguments: Arguments) -> Result:
        weights = [
            arguments.tensor(place) for place in (first_weight, first_weight + 1)
            if place < arguments.count and arguments.is_tensor(place)
        ]  # fmt: skip
        return Result(outputs=(arguments.tensor(1), *weights))

    return rule


def _batch_norm(arguments: Arguments) -> Result:
    given = arguments.tensor(0)
    if not arguments.flag(5):  # in evaluation nothing is kept for backward
        return Result(outputs=(given, _statistics(0), _statistics(0)))
    channels = given.shape[1]
    return Result(outputs=(given, _statistics(channels), _statistics(channels)))


def _batch_norm_backward(arguments: Arguments) -> Result:
    weight = _statistics(arguments.tensor(0).shape[1])
    return Result(outputs=(arguments.tensor(0), weight, weight))


def _nll_loss(arguments: Arguments) -> Result:
    loss = TensorShape(shape=(), dtype=arguments.tensor(0).dtype)
    return Result(outputs=(loss, loss))


def _dropout(arguments: Arguments) -> Result:
    given = arguments.tensor(0)
    return Result(outputs=(given, _like(given, "bool")))


def _spatial(arguments: Arguments) -> tuple[int, ...]:
    """Returns the sizes of a convolution's output."""
    given, weight = arguments.tensor(0), arguments.tensor(1)
    if arguments.flag(6):
        raise NoRuleError  # transposed: its output padding is rare
    dims = range(len(given.shape) - 2)
    stride, padding, dilation = (arguments.numbers(place) for place in (3, 4, 5))
    stride, padding, dilation = (
        one * len(dims) if len(one) == 1 else one for one in (stride, padding, dilation)
    )
    return tuple(
        (given.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1)
        // stride[i]
        + 1
        for i in dims
    )


def _convolution(arguments: Arguments) -> Result:
    given, weight = arguments.tensor(0), arguments.tensor(1)
    shape = (given.shape[0], weight.shape[0], *_spatial(arguments))
    last = given.channels_last or weight.channels_last
    output = TensorShape(shape=shape, dtype=given.dtype, channels_last=last)
    return Result(outputs=(output,), flops=2 * prod(shape) * prod(weight.shape[1:]))


def _convolution_backward(arguments: Arguments) -> Result:
    gradient, given, weight = (arguments.tensor(place) for place in range(3))
    if arguments.flag(7):
        raise NoRuleError
    wanted = arguments.numbers(10)
    outputs = [one for one, is_wanted in zip((given, weight), wanted, strict=False) if is_wanted]
    flops = 2 * prod(gradient.shape) * prod(weight.shape[1:]) * len(outputs)
    if len(wanted) > 2 and wanted[2]:
        outputs.append(_statistics(gradient.shape[1], dtype=gradient.dtype))
    return Result(outputs=tuple(outputs), flops=flops)


def _attention(backend: str, first: int, causal: int, bias: int | None = None) -> Rule:
    """Returns the rule of fused attention; places of the queries, of is_causal and of the bias."""

    def rule(arguments: Arguments) -> Result:
        query, key, value = (arguments.tensor(first + place) for place in range(3))
        if {len(one.shape) for one in (query, key, value)} != {4}:
            raise NoRuleError
        batch, heads, queries, width = query.shape
        facts = AttentionFacts(
            backend=backend,
            batch=batch,
            query_heads=heads,
            key_heads=key.shape[1],
            queries=queries,
            keys=key.shape[2],
            head_width=width,
            value_width=value.shape[3],
            is_causal=arguments.flag(causal),
            has_bias=bias is not None and arguments.is_tensor(bias),
        )
        output = replace(query, shape=(batch, heads, queries, value.shape[3]))
        sums = TensorShape(shape=(batch, heads, queries), dtype="float32")
        outputs = (output, sums) if first == 0 else (query, key, value)
        return Result(outputs=outputs, attention=facts)

    return rule


def _max_pool(arguments: Arguments) -> Result:
    given = arguments.tensor(0)
    window, stride, padding = (arguments.numbers(place) for place in (1, 2, 3))
    sizes = []
    for i, size in enumerate(given.shape[-2:]):
        k, p = window[i % len(window)], padding[i % len(padding)]
        step = stride[i % len(stride)] if stride else k
        sizes.append((size + 2 * p - k) // step + 1)
    shape = (*given.shape[:-2], *sizes)
    return Result(outputs=(replace(given, shape=shape), TensorShape(shape=shape, dtype="int64")))


LAYER_RULES: dict[str, Rule] = {
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "_softmax_backward_data": as_first,
    "_log_softmax_backward_data": as_first,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _norm_backward(5),
    "_fused_rms_norm": _rms_norm,
    "_fused_rms_norm_backward": _norm_backward(4),
    "native_group_norm": _group_norm,
    "native_group_norm_backward": as_second,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "cudnn_batch_norm_backward": _batch_norm_backward,
    "nll_loss_forward": _nll_loss,
    "nll_loss_backward": as_second,
    "native_dropout": _dropout,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d_with_indices_backward": as_second,
    "_scaled_dot_product_flash_attention": _attention("flash", 0, 4),
    "_scaled_dot_product_flash_attention_backward": _attention("flash", 1, 11),
    "_scaled_dot_product_efficient_attention": _attention("efficient", 0, 6, bias=3),
    "_scaled_dot_product_efficient_attention_backward": _attention("efficient", 1, 11, bias=4),
    "_scaled_dot_product_cudnn_attention": _attention("cudnn", 0, 6, bias=3),
    "_scaled_dot_product_cudnn_attention_backward": _attention("cudnn", 1, 14, bias=8),
}
"""The rules by name."""
