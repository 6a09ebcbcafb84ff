"""Records of operators from what the profiler wrote: outputs, FLOPs and bytes by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.timing.kernels import KernelKind, Pass, kernels_of
from planner.verification.profiler_trace import TracedOperator
from planner.verification.traced_records import record_of
from planner.wire.trace import OperatorRecord, Phase, TensorShape

F32, F16, BF16, I64 = "float", "c10::Half", "c10::BFloat16", "long int"
SCALAR, LIST = "Scalar", "ScalarList"


def traced(name: str, *arguments: tuple[Any, ...], calls: int = 1) -> TracedOperator:
    """Each argument: its dims, its type, its concrete value, its strides."""
    filled = [(*one, *("", ())[len(one) - 2 :]) for one in arguments]
    return TracedOperator(
        name=f"aten::{name}",
        phase=Phase.FORWARD,
        dims=tuple(one[0] for one in filled),
        dtypes=tuple(one[1] for one in filled),
        concrete=tuple(one[2] for one in filled),
        strides=tuple(one[3] for one in filled),
        calls=calls,
        launches=calls,
        measured_s=1e-3,
    )


def record(name: str, *arguments: tuple[Any, ...]) -> OperatorRecord:
    found = record_of(traced(name, *arguments))
    assert found is not None
    return found


def value(text: str, kind: str = SCALAR) -> tuple[Any, ...]:
    return ((), kind, text)


def nothing() -> tuple[Any, ...]:
    return ((), "", "")


def outputs(found: OperatorRecord) -> list[tuple[tuple[int, ...], str]]:
    return [(one.shape, one.dtype) for one in found.outputs]


def test_a_product() -> None:
    found = record("mm", ((8, 4), BF16), ((4, 2), BF16))
    assert outputs(found) == [((8, 2), "bfloat16")]
    assert found.flops == 2 * 8 * 4 * 2
    assert (found.read_bytes, found.written_bytes) == (2 * (32 + 8), 2 * 16)


def test_a_product_with_a_bias() -> None:
    found = record("addmm", ((2,), F32), ((8, 4), F32), ((4, 2), F32), value("1"), value("1"))
    assert found.flops == 2 * 8 * 4 * 2
    assert found.read_bytes == 4 * (2 + 32 + 8)
    (kernel,) = kernels_of(found)
    assert kernel.product is not None
    assert (kernel.product.m, kernel.product.n, kernel.product.k) == (8, 2, 4)


def test_batched_products() -> None:
    found = record("bmm", ((3, 8, 4), F16), ((3, 4, 2), F16))
    assert outputs(found) == [((3, 8, 2), "float16")]
    assert found.flops == 3 * 2 * 8 * 4 * 2


def test_an_expanded_tensor_is_read_once() -> None:
    """(8, 4) with steps of (0, 1) has 4 elements."""
    found = record("add", ((8, 4), F32, "", (0, 1)), ((8, 4), F32, "", (4, 1)), value("1"))
    assert found.read_bytes == 4 * (4 + 32)
    assert found.written_bytes == 4 * 32


@pytest.mark.parametrize(
    ("arguments", "shape", "dtype"),
    [
        ([((8, 4), F32), ((4,), F32)], (8, 4), "float32"),
        ([((8, 1), F16), ((1, 4), F16)], (8, 4), "float16"),
        ([((8,), F16), ((8,), F32)], (8,), "float32"),
        ([((8,), F16), ((8,), BF16)], (8,), "float32"),
        ([((8,), F16), ((), "double")], (8,), "float16"),  # a number does not widen it
        ([((8,), I64), ((), "double")], (8,), "float32"),
        ([((8,), I64), ((8,), "int")], (8,), "int64"),
        ([((8,), "bool"), ((8,), BF16)], (8,), "bfloat16"),
    ],
)
def test_results_of_two_tensors(arguments: list[Any], shape: tuple[int, ...], dtype: str) -> None:
    assert outputs(record("mul", *arguments)) == [(shape, dtype)]


def test_in_place_it_is_the_first() -> None:
    found = record("add_", ((8, 4), F16), ((8, 4), F32), value("1"))
    assert outputs(found) == [((8, 4), "float16")]
    assert (found.read_bytes, found.written_bytes) == (32 * (2 + 4), 32 * 2)


def test_a_comparison_gives_bools() -> None:
    found = record("eq", ((8,), F32), value("1"))
    assert outputs(found) == [((8,), "bool")]
    assert found.written_bytes == 8


def test_a_copy_writes_the_first_and_reads_the_second() -> None:
    found = record("copy_", ((8,), F16), ((8,), F32), value("False"))
    assert (found.read_bytes, found.written_bytes) == (32, 16)
    assert kernels_of(found)[0].kind is KernelKind.COPY
    assert kernels_of(record("_to_copy", ((8,), F16), ((8,), F32)))[0].kind is KernelKind.CAST


def test_filling_reads_nothing() -> None:
    found = record("zero_", ((8,), F32))
    assert (found.read_bytes, found.written_bytes) == (0, 32)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ([((8, 4), F32)], ()),
        ([((8, 4), F32), nothing()], ()),
        ([((8, 4), F32), value("[1]", LIST), value("False"), nothing()], (8,)),
        ([((8, 4), F32), value("[0, -1]", LIST), value("False"), nothing()], ()),
        ([((8, 4), F32), value("[-1]", LIST), value("True"), nothing()], (8, 1)),
        ([((8, 4), F32), value("[]", LIST), value("False"), nothing()], ()),
    ],
)
def test_sums(arguments: list[Any], shape: tuple[int, ...]) -> None:
    found = record("sum", *arguments)
    assert outputs(found) == [(shape, "float32")]
    assert found.read_bytes == 4 * 32


def test_softmax_and_its_gradient() -> None:
    found = record("_softmax", ((8, 4), F16), value("1"), value("True"))
    assert outputs(found) == [((8, 4), "float32")]
    assert kernels_of(found)[0].columns == 4
    backward = record(
        "_softmax_backward_data", ((8, 4), F16), ((8, 4), F16), value("1"), value("5")
    )
    assert backward.read_bytes == 2 * 64
    assert kernels_of(backward)[0].part is Pass.BACKWARD


def test_layer_norm() -> None:
    weight = ((4,), BF16)
    found = record(
        "native_layer_norm", ((8, 4), BF16), value("[4]", LIST), weight, weight, value("0")
    )
    assert outputs(found) == [((8, 4), "bfloat16"), ((8, 1), "float32"), ((8, 1), "float32")]
    assert kernels_of(found)[0].kind is KernelKind.NORM
    assert kernels_of(found)[0].columns == 4
    statistic = ((8, 1), F32)
    backward = record(
        "native_layer_norm_backward", ((8, 4), BF16), ((8, 4), BF16), value("[4]", LIST),
        statistic, statistic, weight, weight, value("[True, True, True]", LIST),
    )  # fmt: skip
    assert outputs(backward) == [((8, 4), "bfloat16"), ((4,), "bfloat16"), ((4,), "bfloat16")]


@pytest.mark.parametrize(("training", "part"), [("True", Pass.FORWARD), ("False", Pass.EVALUATION)])
def test_batch_norm(training: str, part: Pass) -> None:
    channel = ((3,), F32)
    image = ((2, 3, 8, 8), F16, "", (192, 1, 24, 3))  # channels next to each other
    found = record(
        "cudnn_batch_norm", image, channel, channel, channel, channel, value(training), value("0"),
        value("0"),
    )  # fmt: skip
    (kernel,) = kernels_of(found)
    assert (kernel.kind, kernel.part) == (KernelKind.BATCH_NORM, part)
    assert kernel.channels_last


def test_an_embedding_reads_the_rows_that_it_takes() -> None:
    found = record("embedding", ((1000, 16), F32), ((2, 5), I64), value("-1"), value("False"))
    assert outputs(found) == [((2, 5, 16), "float32")]
    assert found.written_bytes == 4 * 160
    assert found.read_bytes == 4 * 160 + 8 * 10
    backward = record("embedding_dense_backward", ((2, 5, 16), F32), ((2, 5), I64), value("1000"))
    assert outputs(backward) == [((1000, 16), "float32")]


CONVOLUTION = (value("[2, 2]", LIST), value("[1, 1]", LIST), value("[1, 1]", LIST))
PLAIN = (value("False"), value("[0, 0]", LIST), value("1"))


def test_a_convolution_has_its_size_from_stride_and_padding() -> None:
    """(9 + 2 - 2 - 1) // 2 + 1 = 5; transposed ones are left out."""
    image, weight = ((2, 3, 9, 9), F16), ((4, 3, 3, 3), F16)
    found = record("convolution", image, weight, nothing(), *CONVOLUTION, *PLAIN)
    assert outputs(found) == [((2, 4, 5, 5), "float16")]
    assert found.flops == 2 * (2 * 4 * 25) * (3 * 9)
    transposed = (value("True"), *PLAIN[1:])
    assert (
        record_of(traced("convolution", image, weight, nothing(), *CONVOLUTION, *transposed))
        is None
    )


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        ("[True, True, False]", [Pass.INPUT_GRADIENT, Pass.WEIGHT_GRADIENT]),
        ("[False, True, True]", [Pass.WEIGHT_GRADIENT]),
    ],
)
def test_gradients_of_a_convolution(mask: str, parts: list[Pass]) -> None:
    found = record(
        "convolution_backward", ((2, 4, 5, 5), F16), ((2, 3, 9, 9), F16), ((4, 3, 3, 3), F16),
        value("[0]", LIST), *CONVOLUTION, *PLAIN, value(mask, LIST),
    )  # fmt: skip
    assert [kernel.part for kernel in kernels_of(found)] == parts
    assert found.flops == len(parts) * 2 * (2 * 4 * 25) * (3 * 9)


def test_attention() -> None:
    query, key = ((2, 8, 128, 64), BF16), ((2, 4, 256, 64), BF16)
    found = record(
        "_scaled_dot_product_flash_attention", query, key, key, value("0."), value("True"),
        value("False"), nothing(),
    )  # fmt: skip
    facts = found.attention
    assert facts is not None
    assert (facts.backend, facts.queries, facts.keys, facts.key_heads) == ("flash", 128, 256, 4)
    assert facts.is_causal
    (kernel,) = kernels_of(found)
    assert kernel.flops == 2 * (2 * 8 * 128 * 256) * (64 + 64) // 2  # half of them: causal


def test_a_bias_of_attention() -> None:
    query = ((2, 8, 128, 64), BF16)
    given = (query, query, query, ((2, 8, 128, 128), BF16), value("True"), value("0."))
    found = record("_scaled_dot_product_efficient_attention", *given, value("False"), nothing())
    assert found.attention is not None
    assert found.attention.has_bias


def test_pooling() -> None:
    """(9 - 3) // 2 + 1 = 4."""
    pair = (value("[3, 3]", LIST), value("[2, 2]", LIST), value("[0, 0]", LIST))
    found = record("max_pool2d_with_indices", ((2, 3, 9, 9), F32), *pair, value("[1, 1]", LIST))
    assert outputs(found) == [((2, 3, 4, 4), "float32"), ((2, 3, 4, 4), "int64")]


@pytest.mark.parametrize(
    ("dims", "strides", "last"),
    [
        ((2, 3, 8, 8), (192, 64, 8, 1), False),
        ((2, 3, 8, 8), (192, 1, 24, 3), True),
        ((2, 1, 8, 8), (64, 1, 8, 1), False),  # one channel: contiguous too
        ((2, 3, 8, 8), (), False),
    ],
)
def test_layouts(dims: tuple[int, ...], strides: tuple[int, ...], last: bool) -> None:
    assert record("relu", (dims, F32, "", strides)).inputs == (
        TensorShape(shape=dims, dtype="float32", channels_last=last),
    )


@pytest.mark.parametrize(
    "operator",
    [
        traced("_foreach_add_", (((8,), (4,)), "TensorList"), (((8,), (4,)), "TensorList")),
        traced("unknown_operator", ((8,), F32)),
        traced("relu", ((8,), "c10::Float8_e4m3fn")),
        traced("mm", ((8, 4), F32)),
        traced("mm", ((8, 4), F32), ((5, 2), F32)),
        traced("add", ((8, 3), F32), ((8, 4), F32)),
        traced("_softmax", ((8, 4), F32), value(""), value("")),
        traced("sum", ((8, 4), F32), value("[x]", LIST), value("False")),
        traced("convolution", ((2, 3, 9, 9), F32), ((4, 3, 3, 3), F32)),
        traced("add"),
        traced("where"),
        traced("native_layer_norm", ((8, 4), F32), value("", LIST)),
        traced("embedding", ((8, -4), F32), ((2,), I64)),
    ],
    ids=lambda one: one.name,
)
def test_what_cannot_be_rebuilt_is_left_out(operator: TracedOperator) -> None:
    assert record_of(operator) is None


def test_another_library_has_no_rule() -> None:
    one = traced("mm", ((8, 4), F32), ((4, 2), F32))
    assert record_of(one) is not None
    assert record_of(replace(one, name="mine::mm")) is None


def test_calls_and_launches_of_one_call() -> None:
    found = record_of(traced("relu", ((8,), F32), calls=6))
    assert found is not None
    assert (found.calls, found.launches) == (6, 1)


def listed(*dims: tuple[int, ...]) -> tuple[Any, ...]:
    return (dims, "TensorList")


def with_lists(name: str, dtype: str, *arguments: tuple[Any, ...]) -> OperatorRecord:
    found = record_of(replace(traced(name, *arguments), list_dtype=dtype))
    assert found is not None
    return found


def test_tensors_that_are_joined() -> None:
    found = with_lists("cat", F16, listed((8, 4), (8, 3), (8, 3)), value("-1"))
    assert outputs(found) == [((8, 10), "float16")]
    assert found.read_bytes == found.written_bytes == 2 * 80
    assert [(one.shape, one.number) for one in found.inputs] == [((8, 4), 1), ((8, 3), 2)]
    assert kernels_of(found)[0].kind is KernelKind.COPY


def test_an_optimizer_of_many_kernels() -> None:
    lists = listed((8, 4), (4,))
    found = with_lists("_foreach_addcdiv_", F32, lists, lists, lists, value("1"))
    assert (found.read_bytes, found.written_bytes) == (3 * 4 * 36, 4 * 36)
    assert kernels_of(found)[0].kind is KernelKind.OPTIMIZER
    root = with_lists("_foreach_sqrt", F32, lists)
    assert (root.read_bytes, root.written_bytes) == (4 * 36, 4 * 36)
    norms = with_lists("_foreach_norm", F32, lists, value("2"))
    assert (norms.read_bytes, norms.written_bytes) == (4 * 36, 8)


def test_an_optimizer_in_one_kernel() -> None:
    """It reads weights, gradients, both averages and the steps, and writes all but gradients."""
    lists, steps = listed((8, 4), (4,)), listed((), ())
    found = with_lists("_fused_adamw_", F32, lists, lists, lists, lists, listed(), steps)
    assert found.read_bytes == 4 * 4 * 36 + 8
    assert found.written_bytes == 3 * 4 * 36


def test_lists_without_a_dtype_are_left_out() -> None:
    assert record_of(traced("cat", listed((8, 4), (8, 3)), value("1"))) is None
    old = replace(traced("cat", ((), "TensorList"), value("1")), list_dtype=F32)  # no sizes
    assert record_of(old) is None
