"""Rules of single operators on tensors: elementwise work, products, copies, sums, lists.

In: Arguments. Out: Result, by the name of an operator of aten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from planner.verification.traced_arguments import Arguments, NoRuleError
from planner.verification.traced_result import Result, Rule, as_first
from planner.wire.trace import TensorShape

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


def _pointwise(name: str) -> Rule:
    def rule(arguments: Arguments) -> Result:
        given = [one.shape for one in arguments.with_numbers]
        shape = _broadcast([one.shape for one in given])
        dtype = "bool" if name in _COMPARISONS else _promoted(given)
        like = next((one for one in given if one.shape == shape), None)
        last = like is not None and like.channels_last
        return Result(outputs=(TensorShape(shape=shape, dtype=dtype, channels_last=last),))

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


def _product(skipped: int) -> Rule:
    """Returns the rule of a product whose first `skipped` arguments are added."""

    def rule(arguments: Arguments) -> Result:
        left, right = arguments.tensor(skipped), arguments.tensor(skipped + 1)
        shape = (*left.shape[:-1], right.shape[-1])
        if len(left.shape) not in (2, 3) or left.shape[-1] != right.shape[-2]:
            raise NoRuleError
        return Result(
            outputs=(TensorShape(shape=shape, dtype=left.dtype),),
            flops=2 * prod(shape) * left.shape[-1],
        )

    return rule


def _copy(arguments: Arguments) -> Result:
    return Result(outputs=(arguments.tensor(0),), unread=(0,))


def _reduction(arguments: Arguments) -> Result:
    """Of sum and mean: over all, or over the dimensions that the second argument lists."""
    given = arguments.tensor(0)
    dtype = "int64" if given.dtype in _INTEGERS else given.dtype
    if arguments.count <= 2:
        return Result(outputs=(TensorShape(shape=(), dtype=dtype),))
    text = arguments.given(1)
    places = range(len(given.shape)) if text in ("", "[]") else arguments.numbers(1)
    gone = {place % max(1, len(given.shape)) for place in places}
    keeps = arguments.flag(2)
    shape = tuple(
        1 if place in gone else size
        for place, size in enumerate(given.shape)
        if keeps or place not in gone
    )
    return Result(outputs=(TensorShape(shape=shape, dtype=dtype),))


def _embedding(arguments: Arguments) -> Result:
    table, places = arguments.tensor(0), arguments.tensor(1)
    shape = (*places.shape, *table.shape[1:])
    return Result(outputs=(TensorShape(shape=shape, dtype=table.dtype),), table=0)


def _embedding_backward(arguments: Arguments) -> Result:
    gradient, rows = arguments.tensor(0), int(arguments.number(2))
    shape = (rows, gradient.shape[-1])
    return Result(outputs=(TensorShape(shape=shape, dtype=gradient.dtype),))


def _cat(arguments: Arguments) -> Result:
    given, place = arguments.tensors(0), int(arguments.number(1))
    whole = [one for one in given if one.shape != (0,)]  # cat takes no notice of these
    first = list(whole[0].shape)
    first[place] = sum(one.shape[place] * one.number for one in whole)
    return Result(outputs=(replace(whole[0], shape=tuple(first), number=1),))


def _list_like_first(arguments: Arguments) -> Result:
    return Result(outputs=arguments.tensors(0))


def _list_in_place(arguments: Arguments) -> Result:
    return Result(changed=arguments.tensors(0))


def _list_norms(arguments: Arguments) -> Result:
    given = arguments.tensors(0)
    number = sum(one.number for one in given)
    return Result(outputs=(replace(given[0], shape=(), number=number),))


def _fused_optimizer(*written: int) -> Rule:
    """Returns the rule of an optimizer in one kernel, which writes the lists at these places."""

    def rule(arguments: Arguments) -> Result:
        lists = [arguments.tensors(place) for place in written if arguments.is_list(place)]
        return Result(changed=tuple(one for found in lists for one in found))

    return rule


TENSOR_RULES: dict[str, Rule] = {
    **{name: _pointwise(name) for name in _POINTWISE},
    **{f"{name}_": as_first for name in _POINTWISE},
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
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_backward,
    "cat": _cat,
    "_foreach_norm": _list_norms,
    **{f"_foreach_{name}_": _list_in_place for name in _OF_LISTS},
    **{f"_foreach_{name}": _list_like_first for name in _OF_LISTS},
    "_fused_adam_": _fused_optimizer(0, 2, 3, 4),
    "_fused_adamw_": _fused_optimizer(0, 2, 3, 4),
    "_fused_sgd_": _fused_optimizer(0, 2),
}
"""The rules by name."""
