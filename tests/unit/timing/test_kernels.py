"""Operators to kernels: shapes of products, kinds, what backward is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.timing.kernels import KernelKind, Pass, Product, kernels_of
from planner.wire.kernel_facts import LoopFacts
from planner.wire.trace import OperatorRecord, TensorShape
from tests.unit.operator_records import operator, product, relu, size_bytes, tensor


def test_a_product_has_its_three_sizes() -> None:
    record = product(64, 32, 16)
    (kernel,) = kernels_of(record)
    assert (kernel.kind, kernel.dtype) == (KernelKind.MATMUL, "float16")
    assert kernel.product == Product(batch=1, m=64, n=16, k=32)
    assert kernel.flops == 2 * 64 * 32 * 16
    assert kernel.moved_bytes == 2 * (64 * 32 + 32 * 16 + 64 * 16)


def test_the_bias_of_addmm_is_no_operand_of_its_product() -> None:
    record = operator(
        "addmm", (tensor(16), tensor(64, 32), tensor(32, 16)), (tensor(64, 16),), flops=65536
    )
    (kernel,) = kernels_of(record)
    assert kernel.product == Product(batch=1, m=64, n=16, k=32)


@pytest.mark.parametrize("name", ["bmm", "baddbmm"])
def test_a_batch_of_products_is_a_batch(name: str) -> None:
    operands = (tensor(12, 64, 32), tensor(12, 32, 64))
    added = (tensor(12, 64, 64),) if name == "baddbmm" else ()
    record = operator(name, (*added, *operands), (tensor(12, 64, 64),), flops=1)
    (kernel,) = kernels_of(record)
    assert kernel.product == Product(batch=12, m=64, n=64, k=32)


@pytest.mark.parametrize(
    ("reduced", "kind"), [(1, KernelKind.LOOP), (512, KernelKind.LOOP_REDUCTION)]
)
def test_a_kernel_that_triton_made_is_a_loop(reduced: int, kind: KernelKind) -> None:
    record = operator("inductor::poi_fused_mm_convolution_softmax", (tensor(8, 512),), ())
    loop = LoopFacts(elements=8 * 512, reduced=reduced)
    (kernel,) = kernels_of(replace(record, loop=loop))
    assert kernel.kind is kind
    assert kernel.moved_bytes == record.read_bytes + record.written_bytes


@pytest.mark.parametrize("name", ["linear", "matmul", "convolution", "attention", "sum"])
def test_an_operator_of_the_users_own_goes_by_its_bytes_whatever_its_name(name: str) -> None:
    record = operator(f"mylib::{name}", (tensor(8),), (tensor(8),), is_known=False)
    (kernel,) = kernels_of(record)
    assert (kernel.kind, kernel.flops, kernel.product) == (KernelKind.UNKNOWN, 0, None)
    assert kernel.moved_bytes == 2 * 4 * 8


def test_an_operator_of_the_users_own_may_have_a_formula() -> None:
    (kernel,) = kernels_of(operator("mylib::linear", (tensor(8),), (tensor(8),), flops=100))
    assert (kernel.kind, kernel.flops, kernel.product) == (KernelKind.ELEMENTWISE, 100, None)


def convolution(
    given: TensorShape, weight: TensorShape, output: TensorShape, multiply_adds: int
) -> OperatorRecord:
    """`multiply_adds` for each element of the output."""
    number = 1
    for size in output.shape:
        number *= size
    return operator("convolution", (given, weight), (output,), flops=2 * number * multiply_adds)


@pytest.mark.parametrize(
    ("given", "weight", "output", "multiply_adds", "kind", "expected"),
    [
        pytest.param(
            (8, 16, 10, 10), (32, 16, 3, 3), (8, 32, 10, 10), 16 * 9,
            KernelKind.CONVOLUTION, Product(batch=1, m=800, n=32, k=144), id="plain",
        ),
        pytest.param(
            (8, 16, 10), (32, 16, 3), (8, 32, 10), 16 * 3,
            KernelKind.CONVOLUTION, Product(batch=1, m=80, n=32, k=48), id="one dimension",
        ),
        pytest.param(
            (8, 32, 10, 10), (64, 8, 3, 3), (8, 64, 10, 10), 8 * 9,
            KernelKind.GROUPED_CONVOLUTION, Product(batch=4, m=800, n=16, k=72), id="4 groups",
        ),
        pytest.param(
            (8, 32, 10, 10), (32, 1, 3, 3), (8, 32, 10, 10), 9,
            KernelKind.GROUPED_CONVOLUTION, Product(batch=32, m=800, n=1, k=9), id="depthwise",
        ),
    ],
)  # fmt: skip
def test_a_convolution_is_the_product_that_it_amounts_to(
    given: tuple[int, ...],
    weight: tuple[int, ...],
    output: tuple[int, ...],
    multiply_adds: int,
    kind: KernelKind,
    expected: Product,
) -> None:
    record = convolution(tensor(*given), tensor(*weight), tensor(*output), multiply_adds)
    (kernel,) = kernels_of(record)
    assert (kernel.kind, kernel.product) == (kind, expected)
    assert kernel.groups == expected.batch


def test_a_transposed_convolution_gives_what_its_weight_has_second() -> None:
    # 64 channels to 32, twice as wide: of 2 x 2 weights each output element meets one.
    record = convolution(tensor(8, 64, 5, 5), tensor(64, 32, 2, 2), tensor(8, 32, 10, 10), 64)
    (kernel,) = kernels_of(record)
    assert kernel.kind is KernelKind.CONVOLUTION
    assert kernel.product == Product(batch=1, m=800, n=32, k=64)


GRADIENT, IMAGES, WEIGHT = tensor(8, 32, 10, 10), tensor(8, 16, 10, 10), tensor(32, 16, 3, 3)


def test_backward_of_a_convolution_is_two_products() -> None:
    flops = 2 * 2 * 800 * 32 * 144
    record = operator(
        "convolution_backward", (GRADIENT, IMAGES, WEIGHT), (IMAGES, WEIGHT, tensor(32)),
        flops=flops,
    )  # fmt: skip
    to_input, to_weight = kernels_of(record)
    assert (to_input.part, to_weight.part) == (Pass.INPUT_GRADIENT, Pass.WEIGHT_GRADIENT)
    assert to_input.product == Product(batch=1, m=800, n=16, k=32 * 9)
    assert to_weight.product == Product(batch=1, m=32, n=16 * 9, k=800)
    assert to_input.flops == to_weight.flops == flops // 2
    assert to_input.moved_bytes == size_bytes(GRADIENT, IMAGES, WEIGHT)


def test_the_first_layer_has_no_gradient_of_its_input() -> None:
    record = operator("convolution_backward", (GRADIENT, IMAGES, WEIGHT), (WEIGHT,), flops=1000)
    (kernel,) = kernels_of(record)
    assert (kernel.part, kernel.flops) == (Pass.WEIGHT_GRADIENT, 1000)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_scaled_dot_product_flash_attention", KernelKind.ATTENTION),
        ("_efficient_attention_backward", KernelKind.ATTENTION),
        ("_cudnn_rnn", KernelKind.RECURRENT),
        ("cudnn_batch_norm_backward", KernelKind.BATCH_NORM),
        ("native_layer_norm_backward", KernelKind.NORM),
        ("native_group_norm", KernelKind.GROUP_NORM),
        ("_log_softmax", KernelKind.SOFTMAX),
        ("max_pool2d_with_indices", KernelKind.POOL),
        ("embedding_dense_backward", KernelKind.LOOKUP),
        ("nll_loss_forward", KernelKind.LOOKUP),
        ("sum", KernelKind.REDUCTION),
        ("cat", KernelKind.COPY),
        ("gelu_backward", KernelKind.ELEMENTWISE),
        ("_foreach_add_", KernelKind.OPTIMIZER),
        ("_fused_adamw_", KernelKind.OPTIMIZER),
    ],
)
def test_the_name_tells_the_kind(name: str, kind: KernelKind) -> None:
    (kernel,) = kernels_of(operator(name, (tensor(8, 4),), (tensor(8, 4),)))
    assert kernel.kind is kind
    assert kernel.part is (Pass.BACKWARD if "backward" in name else Pass.FORWARD)


@pytest.mark.parametrize(
    ("statistics", "part"), [((4,), Pass.FORWARD), ((0,), Pass.EVALUATION)], ids=["train", "eval"]
)
def test_batch_norm_in_evaluation_saves_nothing(statistics: tuple[int, ...], part: Pass) -> None:
    outputs = (tensor(8, 4), tensor(*statistics), tensor(*statistics))
    (kernel,) = kernels_of(operator("cudnn_batch_norm", (tensor(8, 4), tensor(4)), outputs))
    assert (kernel.kind, kernel.part) == (KernelKind.BATCH_NORM, part)


def test_tensors_of_several_shapes_are_broadcast() -> None:
    record = operator("mul", (tensor(8, 4), tensor(4)), (tensor(8, 4),))
    (kernel,) = kernels_of(record)
    assert kernel.kind is KernelKind.BROADCAST
    assert kernel.moved_elements == 8 * 4 + 4 + 8 * 4


def test_without_a_rule_the_bytes_alone_are_known() -> None:
    record = operator("mine::scan", (tensor(8, 4),), (tensor(8, 4),), is_known=False)
    (kernel,) = kernels_of(record)
    assert (kernel.kind, kernel.flops, kernel.moved_bytes) == (KernelKind.UNKNOWN, 0, 256)


def test_the_largest_tensor_tells_dtype_and_layout() -> None:
    images = tensor(8, 16, 4, 4, dtype="bfloat16", channels_last=True)
    (kernel,) = kernels_of(operator("cudnn_batch_norm", (images, tensor(16)), (images,)))
    assert (kernel.dtype, kernel.channels_last) == ("bfloat16", True)
    (plain,) = kernels_of(relu(10))
    assert not plain.channels_last


def test_backward_saves_products_where_forward_does() -> None:
    given, weight = tensor(8, 64, 16, 16), tensor(32, 64, 3, 3)
    for gradient, saves in ((tensor(8, 32, 16, 16), True), (tensor(8, 32, 8, 8), False)):
        record = operator(
            "convolution_backward", (gradient, given, weight), (given, weight), flops=1000
        )
        assert [kernel.saves_products for kernel in kernels_of(record)] == [saves, saves]
