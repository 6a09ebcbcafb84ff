"""Factors of kernels by hand: T4, full rates, elements that cost their bytes alone."""

from __future__ import annotations

import pytest

from planner.hardware.database import load_gpus
from planner.timing import kernel_roofs
from planner.timing.efficiency import Efficiencies
from planner.timing.kernel_times import kernel_time
from planner.timing.rates import memory_rate
from planner.verification import kernel_factors as module
from planner.verification.kernel_factors import (
    KernelComparison,
    MeasuredKernels,
    MeasuredOperator,
    compared,
    kernel_factors,
)
from planner.verification.profiler_trace import profiler_trace
from planner.verification.traced_records import measured_kernels
from tests.made_traces import T4, MadeTrace
from tests.unit.given_efficiencies import use_efficiencies
from tests.unit.operator_records import operator, product, relu, tensor

SMALL_S = 5e-6
FULL = Efficiencies(
    compute={}, bandwidth={}, kernel_s=SMALL_S, cache_gain=0.0, cache_reach=1.0,
    default_compute=1.0, default_bandwidth=1.0,
)  # fmt: skip
ELEMENTS = 10_000_000
RELU_S = 8 * ELEMENTS / memory_rate(T4)  # read and written, 4 bytes each: about 0.3 ms
KIND = "elementwise, single"


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    use_efficiencies(monkeypatch, FULL)
    monkeypatch.setattr(module, "efficiencies", lambda: FULL)
    monkeypatch.setattr(module, "kernel_time", kernel_time.__wrapped__)
    monkeypatch.setattr(kernel_roofs, "_INSTRUCTIONS_PER_ELEMENT", 0)


def kernels(
    *operators: MeasuredOperator, steps: int = 1, shortest_s: float = 0.0
) -> MeasuredKernels:
    return MeasuredKernels(
        steps=steps,
        kernels_s=sum(one.measured_s for one in operators),
        shortest_s=shortest_s,
        operators=operators,
    )


def test_measured_over_predicted() -> None:
    two = MeasuredOperator(operator=relu(ELEMENTS, calls=2), measured_s=3 * RELU_S)
    (found,) = compared(kernels(two), T4).kinds
    assert (found.kind, found.calls) == (KIND, 2)
    assert found.predicted_s == pytest.approx(2 * RELU_S)
    assert found.factor == pytest.approx(1.5)


def test_seconds_count_and_not_calls() -> None:
    """A call of 10 at 2 x and ten of 1 at 1 x: (20 + 10) / (10 + 10)."""
    found = compared(
        kernels(
            MeasuredOperator(operator=relu(10 * ELEMENTS), measured_s=20 * RELU_S),
            MeasuredOperator(operator=relu(ELEMENTS, calls=10), measured_s=10 * RELU_S),
        ),
        T4,
    )
    assert found.kinds[0].factor == pytest.approx(1.5)


def test_seconds_are_of_one_step() -> None:
    one = MeasuredOperator(operator=relu(ELEMENTS, calls=6), measured_s=6 * RELU_S)
    (found,) = compared(kernels(one, steps=3), T4).kinds
    assert found.measured_s == pytest.approx(2 * RELU_S)
    assert found.factor == pytest.approx(1.0)


def test_begin_and_end_are_those_of_the_shortest_kernel() -> None:
    one = MeasuredOperator(operator=relu(ELEMENTS, calls=2), measured_s=2 * (RELU_S + 2e-6))
    assert compared(kernels(one, shortest_s=2e-6), T4).kinds[0].factor == pytest.approx(1.0)
    # not more than planner's own
    long = MeasuredOperator(operator=relu(ELEMENTS), measured_s=RELU_S + SMALL_S)
    assert compared(kernels(long, shortest_s=1.0), T4).kinds[0].factor == pytest.approx(1.0)


def test_kernels_shorter_than_their_begin_and_end_show_nothing() -> None:
    elements = int(0.9 * SMALL_S * memory_rate(T4) / 8)
    short = MeasuredOperator(operator=relu(elements), measured_s=8e-6)
    found = compared(kernels(short), T4)
    assert (found.kinds, found.short_s) == ((), pytest.approx(8e-6))
    long = MeasuredOperator(operator=relu(2 * elements), measured_s=16e-6)
    assert len(compared(kernels(long), T4).kinds) == 1


def test_a_kind_with_little_of_the_time_is_not_compared() -> None:
    most = MeasuredOperator(operator=relu(1000 * ELEMENTS), measured_s=1000 * RELU_S)
    copy = operator("copy_", (tensor(ELEMENTS),), (tensor(ELEMENTS),))
    for share, kinds in ((4.0, {KIND}), (6.0, {KIND, "copy"})):
        little = MeasuredOperator(operator=copy, measured_s=share * RELU_S)
        assert {one.kind for one in compared(kernels(most, little), T4).kinds} == kinds


def test_gradients_of_a_convolution_share_the_time_as_predicted() -> None:
    image, weight = tensor(64, 256, 64, 64), tensor(256, 256, 1, 1)
    both = operator(
        "convolution_backward", (image, image, weight), (image, weight),
        flops=2 * 2 * 64 * 256 * 64 * 64 * 256,
    )  # fmt: skip
    found = compared(kernels(MeasuredOperator(operator=both, measured_s=1.0)), T4).kinds
    assert len(found) == 2
    assert sum(one.measured_s for one in found) == pytest.approx(1.0)
    assert found[0].factor == pytest.approx(found[1].factor)


def test_products_in_tf32_are_another_kind() -> None:
    a100 = load_gpus().find("a100-sxm4-40gb").spec
    one = product(4096, 4096, 4096, dtype="float32")
    for is_tf32, kind in ((False, "matrix product, single"), (True, "matrix product, tf32")):
        found = MeasuredOperator(operator=one, measured_s=0.01, is_tf32=is_tf32)
        assert compared(kernels(found), a100).kinds[0].kind == kind
    # 137 GFLOP in 2 ms are 69 TFLOP/s, and CUDA cores have 19.5: it has another name
    fast = MeasuredOperator(operator=one, measured_s=2e-3)
    assert compared(kernels(fast), a100).kinds[0].kind == "matrix product, tf32"


@pytest.mark.parametrize(
    ("factor", "is_used"), [(0.1, False), (0.2, True), (7.9, True), (9, False)]
)
def test_factors_of_other_kernels_are_not_used(factor: float, is_used: bool) -> None:
    one = MeasuredOperator(operator=relu(ELEMENTS), measured_s=factor * RELU_S)
    found = kernels(one)
    assert compared(found, T4).kinds[0].is_credible is is_used
    assert (KIND in kernel_factors([found], T4)) is is_used


def test_several_traces_count_by_a_step_of_each() -> None:
    """(3 + 1) / (1 + 1), however many steps the second has."""
    first = kernels(MeasuredOperator(operator=relu(ELEMENTS), measured_s=3 * RELU_S))
    second = kernels(
        MeasuredOperator(operator=relu(ELEMENTS, calls=50), measured_s=50 * RELU_S), steps=50
    )
    assert kernel_factors([first, second], T4) == {KIND: pytest.approx(2.0)}
    assert kernel_factors([], T4) == {}


def test_from_a_trace() -> None:
    """Three steps of one relu that takes twice its time, and of a tiny one: its begin and end."""
    made = MadeTrace()
    for number in range(3):
        made.step(number, 10_000 * number, 9000)
        made.relu(10_000 * number + 10, 1e6 * 2 * RELU_S + 2, ELEMENTS)
        made.relu(10_000 * number + 5000, 2, 10)
    found = measured_kernels(profiler_trace(made.data()))
    assert (found.steps, found.shortest_s) == (3, pytest.approx(2e-6))
    (kind,) = compared(found, T4).kinds
    assert kind == KernelComparison(
        kind=KIND,
        calls=3,
        measured_s=pytest.approx(2 * RELU_S),
        predicted_s=pytest.approx(RELU_S),
    )
