"""Builds the record of an operator from what the profiler wrote of its arguments.

In: TracedOperators. Out: OperatorRecords, as the count of a step would have it. Convention: the
result of an operator follows from its arguments by the rules here; an operator without a rule, or
with an argument that the profiler left out, has no record. Bytes are those of
planner/worker/count/traffic.py: each tensor is read or written once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from planner.timing.kernels import tensor_bytes
from planner.verification.kernel_factors import MeasuredKernels, MeasuredOperator
from planner.verification.profiler_trace import ProfilerTrace, TracedOperator
from planner.verification.traced_arguments import Arguments, NoRuleError
from planner.wire.kernel_facts import AttentionFacts
from planner.wire.trace import FlopSource, OperatorRecord, TensorShape

_POINTWISE = frozenset(
    """abs add addcdiv addcmul atan2 bitwise_and bitwise_not bitwise_or ceil clamp clamp_max
    clamp_min cos div elu elu_backward eq erf exp floor fmod ge gelu gelu_backward gt hardsigmoid
    hardsigmoid_backward hardswish hardswish_backward hardtanh hardtanh_backward isfinite isinf
    isnan le leaky_relu leaky_relu_backward lerp log log2 logical_and logical_not logical_or lt
    masked_fill maximum minimum mul native_dropout_backward ne neg pow reciprocal relu remainder
    round rsqrt rsub sigmoid sigmoid_backward sign silu silu_backward sin softplus
    softplus_backward sqrt sub tanh tanh_backward threshold_backward where""".split()  # noqa: SIM905
)
_OF_LISTS = (
    "abs", "add", "addcdiv", "addcmul", "copy", "div", "exp", "lerp", "maximum", "mul", "neg",
    "pow", "reciprocal", "sign", "sqrt", "sub",
)  # fmt: skip
_COMPARISONS = frozenset(
    "eq ne lt le gt ge isfinite isinf isnan logical_and logical_not logical_or".split()  # noqa: SIM905
)
_INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64")
_FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What a rule says: the outputs, and where it differs from reading and writing all once.

    `unread` are places of arguments that are only written. `table` is the place of one of which
    only a part as large as the output is read. `changed` is written and no output.
    """

    outputs: tuple[TensorShape, ...] = ()
    changed: tuple[TensorShape, ...] = ()
    flops: int | None = None
    unread: tuple[int, ...] = ()
    table: int | None = None
    attention: AttentionFacts | None = None


_Rule = Callable[[Arguments], _Result]


def measured_kernels(trace: ProfilerTrace) -> MeasuredKernels:
    """Returns the operators of a trace that have a record."""
    found = []
    for one in trace.operators:
        record = record_of(one)
        if record is not None:
            found.append(
                MeasuredOperator(operator=record, measured_s=one.measured_s, is_tf32=one.is_tf32)
            )
    return MeasuredKernels(
        steps=max(1, trace.steps),
        kernels_s=trace.kernels_s,
        shortest_s=trace.shortest_s,
        operators=tuple(found),
    )


def record_of(operator: TracedOperator) -> OperatorRecord | None:
    """Returns the record of all calls; None: no rule has its result."""
    library, _, name = operator.name.rpartition("::")
    rule = RULES.get(name)
    if library != "aten" or rule is None or not operator.dims:
        return None
    try:
        arguments = Arguments(operator)
        found = rule(arguments)
    except (NoRuleError, IndexError):
        return None
    written = sum(map(tensor_bytes, (*found.outputs, *found.changed)))
    unread = [arguments.tensor(place) for place in found.unread]
    read = sum(one.bytes for one in arguments.all) - sum(map(tensor_bytes, unread))
    if found.table is not None:
        read -= max(0, tensor_bytes(arguments.tensor(found.table)) - written)
    return OperatorRecord(
        name=operator.name,
        phase=operator.phase,
        inputs=tuple(one.shape for one in arguments.all),
        outputs=found.outputs,
        calls=operator.calls,
        flops=found.flops,
        flop_source=FlopSource.ELEMENTWISE if found.flops is None else FlopSource.FORMULA,
        read_bytes=max(0, read),
        written_bytes=written,
        launches=round(operator.launches / operator.calls),
        attention=found.attention,
    )


def _like(tensor: TensorShape, dtype: str | None = None) -> TensorShape:
    return tensor if dtype is None else replace(tensor, dtype=dtype)


def _pointwise(name: str) -> _Rule:
    def rule(arguments: Arguments) -> _Result:
        given = [one.shape for one in arguments.with_numbers]
        shape = _broadcast([one.shape for one in given])
        dtype = "bool" if name in _COMPARISONS else _promoted(given)
        like = next((one for one in given if one.shape == shape), None)
        last = like is not None and like.channels_last
        return _Result(outputs=(TensorShape(shape=shape, dtype=dtype, channels_last=last),))

    return rule


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    length = max(map(len, shapes), default=0)
    if not shapes:
        raise NoRuleError
    padded = [(1,) * (length - len(one)) + one for one in shapes]
    sizes = []
    for column in zip(*padded, strict=True):
        wide = {one for one in column if one != 1}
        if len(wide) > 1:
            raise NoRuleError
        sizes.append(wide.pop() if wide else 1)
    return tuple(sizes)


def _promoted(given: Sequence[TensorShape]) -> str:
    """Returns the dtype of a result; tensors without dimensions count only beyond their kind."""
    floats = [one for one in given if one.dtype in _FLOATS]
    if floats and not any(one.shape for one in floats) and any(one.shape for one in given):
        return "float32"  # integers with a number: torch's default
    ranked = floats or [one for one in given if one.dtype in _INTEGERS]
    with_sizes = [one for one in ranked if one.shape] or ranked
    dtypes = {one.dtype for one in with_sizes}
    if dtypes == {"float16", "bfloat16"}:
        return "float32"
    order = _FLOATS if floats else _INTEGERS
    return max(dtypes, key=order.index)


def _product(skipped: int) -> _Rule:
    """Returns the rule of a product whose first `skipped` arguments are added."""

    def rule(arguments: Arguments) -> _Result:
        left, right = arguments.tensor(skipped), arguments.tensor(skipped + 1)
        shape = (*left.shape[:-1], right.shape[-1])
        if len(left.shape) not in (2, 3) or left.shape[-1] != right.shape[-2]:
            raise NoRuleError
        return _Result(
            outputs=(TensorShape(shape=shape, dtype=left.dtype),),
            flops=2 * prod(shape) * left.shape[-1],
        )

    return rule


def _copy(arguments: Arguments) -> _Result:
    return _Result(outputs=(arguments.tensor(0),), unread=(0,))


def _reduction(arguments: Arguments) -> _Result:
    """Of sum and mean: over all, or over the dimensions that the second argument lists."""
    given = arguments.tensor(0)
    dtype = "int64" if given.dtype in _INTEGERS else given.dtype
    if arguments.count <= 2:
        return _Result(outputs=(TensorShape(shape=(), dtype=dtype),))
    text = arguments.given(1)
    places = range(len(given.shape)) if text in ("", "[]") else arguments.numbers(1)
    gone = {place % max(1, len(given.shape)) for place in places}
    keeps = arguments.flag(2)
    shape = tuple(
        1 if place in gone else size
        for place, size in enumerate(given.shape)
        if keeps or place not in gone
    )
    return _Result(outputs=(TensorShape(shape=shape, dtype=dtype),))


def _softmax(arguments: Arguments) -> _Result:
    given = arguments.tensor(0)
    return _Result(outputs=(_like(given, "float32" if arguments.flag(2) else None),))


def _as_first(arguments: Arguments) -> _Result:
    return _Result(outputs=(arguments.tensor(0),))


def _as_second(arguments: Arguments) -> _Result:
    return _Result(outputs=(arguments.tensor(1),))


def _statistics(*sizes: int, dtype: str = "float32") -> TensorShape:
    return TensorShape(shape=sizes, dtype=dtype)


def _layer_norm(arguments: Arguments) -> _Result:
    given, normed = arguments.tensor(0), len(arguments.numbers(1))
    rows = given.shape[: len(given.shape) - normed] + (1,) * normed
    return _Result(outputs=(given, _statistics(*rows), _statistics(*rows)))


def _rms_norm(arguments: Arguments) -> _Result:
    return _Result(outputs=_layer_norm(arguments).outputs[:2])


def _group_norm(arguments: Arguments) -> _Result:
    given = arguments.tensor(0)
    groups = _statistics(given.shape[0], int(arguments.number(6)))
    return _Result(outputs=(given, groups, groups))


def _norm_backward(first_weight: int) -> _Rule:
    """Returns the rule of a norm's gradients: of its input (argument 1), weight and bias."""

    def rule(arguments: Arguments) -> _Result:
        weights = [
            arguments.tensor(place) for place in (first_weight, first_weight + 1)
            if place < arguments.count and arguments.is_tensor(place)
        ]  # fmt: skip
        return _Result(outputs=(arguments.tensor(1), *weights))

    return rule


def _batch_norm(arguments: Arguments) -> _Result:
    given = arguments.tensor(0)
    if not arguments.flag(5):  # in evaluation nothing is kept for backward
        return _Result(outputs=(given, _statistics(0), _statistics(0)))
    channels = given.shape[1]
    return _Result(outputs=(given, _statistics(channels), _statistics(channels)))


def _batch_norm_backward(arguments: Arguments) -> _Result:
    weight = _statistics(arguments.tensor(0).shape[1])
    return _Result(outputs=(arguments.tensor(0), weight, weight))


def _embedding(arguments: Arguments) -> _Result:
    table, places = arguments.tensor(0), arguments.tensor(1)
    shape = (*places.shape, *table.shape[1:])
    return _Result(outputs=(TensorShape(shape=shape, dtype=table.dtype),), table=0)


def _embedding_backward(arguments: Arguments) -> _Result:
    gradient, rows = arguments.tensor(0), int(arguments.number(2))
    shape = (rows, gradient.shape[-1])
    return _Result(outputs=(TensorShape(shape=shape, dtype=gradient.dtype),))


def _nll_loss(arguments: Arguments) -> _Result:
    loss = TensorShape(shape=(), dtype=arguments.tensor(0).dtype)
    return _Result(outputs=(loss, loss))


def _dropout(arguments: Arguments) -> _Result:
    given = arguments.tensor(0)
    return _Result(outputs=(given, _like(given, "bool")))


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


def _convolution(arguments: Arguments) -> _Result:
    given, weight = arguments.tensor(0), arguments.tensor(1)
    shape = (given.shape[0], weight.shape[0], *_spatial(arguments))
    last = given.channels_last or weight.channels_last
    output = TensorShape(shape=shape, dtype=given.dtype, channels_last=last)
    return _Result(outputs=(output,), flops=2 * prod(shape) * prod(weight.shape[1:]))


def _convolution_backward(arguments: Arguments) -> _Result:
    gradient, given, weight = (arguments.tensor(place) for place in range(3))
    if arguments.flag(7):
        raise NoRuleError
    wanted = arguments.numbers(10)
    outputs = [one for one, is_wanted in zip((given, weight), wanted, strict=False) if is_wanted]
    flops = 2 * prod(gradient.shape) * prod(weight.shape[1:]) * len(outputs)
    if len(wanted) > 2 and wanted[2]:
        outputs.append(_statistics(gradient.shape[1], dtype=gradient.dtype))
    return _Result(outputs=tuple(outputs), flops=flops)


def _attention(backend: str, first: int, causal: int, bias: int | None = None) -> _Rule:
    """Returns the rule of fused attention; places of the queries, of is_causal and of the bias."""

    def rule(arguments: Arguments) -> _Result:
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
        return _Result(outputs=outputs, attention=facts)

    return rule


def _cat(arguments: Arguments) -> _Result:
    given, place = arguments.tensors(0), int(arguments.number(1))
    whole = [one for one in given if one.shape != (0,)]  # cat takes no notice of these
    first = list(whole[0].shape)
    first[place] = sum(one.shape[place] * one.number for one in whole)
    return _Result(outputs=(replace(whole[0], shape=tuple(first), number=1),))


def _list_like_first(arguments: Arguments) -> _Result:
    return _Result(outputs=arguments.tensors(0))


def _list_in_place(arguments: Arguments) -> _Result:
    return _Result(changed=arguments.tensors(0))


def _list_norms(arguments: Arguments) -> _Result:
    given = arguments.tensors(0)
    number = sum(one.number for one in given)
    return _Result(outputs=(replace(given[0], shape=(), number=number),))


def _fused_optimizer(*written: int) -> _Rule:
    """Returns the rule of an optimizer in one kernel, which writes the lists at these places."""

    def rule(arguments: Arguments) -> _Result:
        lists = [arguments.tensors(place) for place in written if arguments.is_list(place)]
        return _Result(changed=tuple(one for found in lists for one in found))

    return rule


def _max_pool(arguments: Arguments) -> _Result:
    given = arguments.tensor(0)
    window, stride, padding = (arguments.numbers(place) for place in (1, 2, 3))
    sizes = []
    for i, size in enumerate(given.shape[-2:]):
        k, p = window[i % len(window)], padding[i % len(padding)]
        step = stride[i % len(stride)] if stride else k
        sizes.append((size + 2 * p - k) // step + 1)
    shape = (*given.shape[:-2], *sizes)
    return _Result(outputs=(replace(given, shape=shape), TensorShape(shape=shape, dtype="int64")))


_PLAIN: dict[str, _Rule] = {
    "mm": _product(0),
    "bmm": _product(0),
    "addmm": _product(1),
    "baddbmm": _product(1),
    "copy_": _copy,
    "_to_copy": _copy,
    "fill_": _copy,
    "zero_": _copy,
    "normal_": _copy,
    "uniform_": _copy,
    "bernoulli_": _copy,
    "sum": _reduction,
    "mean": _reduction,
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "_softmax_backward_data": _as_first,
    "_log_softmax_backward_data": _as_first,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _norm_backward(5),
    "_fused_rms_norm": _rms_norm,
    "_fused_rms_norm_backward": _norm_backward(4),
    "native_group_norm": _group_norm,
    "native_group_norm_backward": _as_second,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "cudnn_batch_norm_backward": _batch_norm_backward,
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_backward,
    "nll_loss_forward": _nll_loss,
    "nll_loss_backward": _as_second,
    "native_dropout": _dropout,
    "cat": _cat,
    "_foreach_norm": _list_norms,
    **{f"_foreach_{name}_": _list_in_place for name in _OF_LISTS},
    **{f"_foreach_{name}": _list_like_first for name in _OF_LISTS},
    "_fused_adam_": _fused_optimizer(0, 2, 3, 4),
    "_fused_adamw_": _fused_optimizer(0, 2, 3, 4),
    "_fused_sgd_": _fused_optimizer(0, 2),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d_with_indices_backward": _as_second,
    "_scaled_dot_product_flash_attention": _attention("flash", 0, 4),
    "_scaled_dot_product_flash_attention_backward": _attention("flash", 1, 11),
    "_scaled_dot_product_efficient_attention": _attention("efficient", 0, 6, bias=3),
    "_scaled_dot_product_efficient_attention_backward": _attention("efficient", 1, 11, bias=4),
    "_scaled_dot_product_cudnn_attention": _attention("cudnn", 0, 6, bias=3),
    "_scaled_dot_product_cudnn_attention_backward": _attention("cudnn", 1, 14, bias=8),
}
RULES: dict[str, _Rule] = {
    **{name: _pointwise(name) for name in _POINTWISE},
    **{f"{name}_": _as_first for name in _POINTWISE},
    **_PLAIN,
}
"""How the result of an operator of aten follows from its arguments, by its name."""
